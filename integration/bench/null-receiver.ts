/** A receiver whose sink takes everything at once: its CPU is the cost of receiving. */
import { Registry } from "prom-client";
import { OtlpReceiver } from "#modules/receivers/otlp-receiver.ts";
import { otlpReceiverConfigSchema } from "#modules/receivers/config.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { Refusals } from "#pkg/limits/refusals.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { Access } from "#pkg/tenant/access.ts";

const receiver = new OtlpReceiver({
  config: { ...otlpReceiverConfigSchema.parse({}), httpPort: 0, grpcPort: 0 },
  sink: {
    push: () => Promise.resolve({ acceptedSpans: 0, rejectedSpans: 0, rejectedMessage: "" }),
  },
  access: new Access(false, ""),
  log: openLog("silent"),
  refusals: new Refusals(systemClock, openLog("silent")),
  registry: new Registry(),
});
const { httpPort, grpcPort } = await receiver.start();
process.stdout.write(`${httpPort} ${grpcPort}\n`);
process.once("SIGTERM", () => void receiver.stop(1000).then(() => process.exit(0)));
