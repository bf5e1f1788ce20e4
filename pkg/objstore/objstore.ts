/**
 * The door of pkg/objstore: the storage interface and how to open a store.
 */
export { abortable, checkSignal } from "./checks.ts";
export { checkFolderPrefix, checkKey } from "./keys.ts";
export { StoreLedger, latencyBounds, requestKinds, storeEvents } from "./ledger.ts";
export type { ObjectInfo, ObjectStore, ReadOptions } from "./object-store.ts";
export { type ProbeOptions, probeStore } from "./probe.ts";
export { type RequestConfig, type StoreConfig, openStore, storeName } from "./store-config.ts";
export { isTemporary } from "./temporaries.ts";
export { type StoreOpener, ThreadStores } from "./thread-stores.ts";
