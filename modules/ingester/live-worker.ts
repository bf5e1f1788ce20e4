/** Entry point of a thread that answers questions about heads. */
import { parentPort } from "node:worker_threads";
import { runInBackground } from "#pkg/threads/threads.ts";
import { serveLive } from "./live-questions.ts";

runInBackground();
serveLive(parentPort!);
