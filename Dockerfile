# Spoor in a container: no root, no writes but to /data, stops cleanly at SIGTERM.
ARG BASE=node:24-slim

FROM ${BASE} AS packages
WORKDIR /spoor
COPY package.json package-lock.json .npmrc ./
# The optional packages are Node itself, which the base has.
RUN npm ci --omit=dev --omit=optional --prefer-offline

FROM ${BASE}
WORKDIR /spoor
COPY --from=packages /spoor/node_modules node_modules
COPY package.json LICENSE ./
COPY cmd cmd
COPY modules modules
COPY pkg pkg
# Whoever runs it may write here: clusters choose user ids of their own.
RUN mkdir -m 0777 /data
ENV NODE_ENV=production XDG_CACHE_HOME=/data/cache
VOLUME /data
EXPOSE 3200 4317 4318
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=5s --start-period=2m --retries=3 CMD ["node", "-e", \
  "fetch('http://127.0.0.1:3200/ready').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/spoor/cmd/spoor/spoor.js"]
CMD ["serve", "--data-dir", "/data", "--host", "0.0.0.0"]
