/**
 * The door of pkg/files: reading regular files.
 */
export { openRegularFile, readRegularFile, readRegularFileAsync } from "./regular-file.ts";
