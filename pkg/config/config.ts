/**
 * The door of pkg/config: reading, printing and documenting the configuration.
 */
export { type ScalarNode, configTree, yamlKey } from "./config-tree.ts";
export type { Environment } from "./interpolate.ts";
export { printConfig } from "./print.ts";
export { configReference } from "./reference.ts";
export type { RenamedKey } from "./renamed-keys.ts";
export { type ConfigOverride, formatNumber, parseConfig } from "./settings.ts";
export { configBytesMax } from "./yaml-file.ts";
