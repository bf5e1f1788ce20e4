/**
 * Entry point of a cutter thread: encodes closed heads from shared memory, one at a time, and
 * stores the blocks. The thread is kept between cuts, because a cut is cheap only with compiled
 * code. It is replaced after a failure and when its WASM memory, which never shrinks, is too large.
 */
import { parentPort } from "node:worker_threads";
import { ThreadStores } from "#pkg/objstore/objstore.ts";
import { Rpc, runInBackground } from "#pkg/threads/threads.ts";
import { type CutThread, runCut } from "./cut-task.ts";
import type { CutTask } from "./messages.ts";

const thread: CutThread = { stores: new ThreadStores() };

runInBackground();
void new Rpc(parentPort!, { cut: (task: CutTask) => runCut(task, thread) });
