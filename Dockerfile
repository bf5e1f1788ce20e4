# Spoor runs unbuilt: the image is Node 24, the dependencies and the source.
ARG BASE=node:24-slim
FROM ${BASE}
WORKDIR /spoor
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --omit=optional && npm cache clean --force && mkdir /data && chown 1000:1000 /data
COPY cmd ./cmd
COPY modules ./modules
COPY pkg ./pkg
USER 1000:1000
ENV XDG_CACHE_HOME=/data/.cache
VOLUME /data
EXPOSE 3200 4317 4318
ENTRYPOINT ["node", "cmd/spoor/spoor.js"]
CMD ["serve", "--host", "0.0.0.0", "--data-dir", "/data"]
