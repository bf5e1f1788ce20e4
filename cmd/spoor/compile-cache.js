/**
 * Caches compiled code between starts, in the user's cache folder (or NODE_COMPILE_CACHE). With the
 * cache, threads start with half the CPU. They also do not load the WASM module that strips types
 * from source files: V8 has crashed ("jit_page.has_value()") when many threads load and drop WASM.
 * If the folder cannot be written, the cache is off.
 */
import { enableCompileCache } from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";

const { env } = process;
const caches = env.XDG_CACHE_HOME ?? join(homedir(), ".cache");
// Worker threads read the variable when they start.
env.NODE_COMPILE_CACHE ??= join(caches, "spoor", "compile");
enableCompileCache(env.NODE_COMPILE_CACHE);
