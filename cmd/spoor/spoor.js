#!/usr/bin/env node
// The `spoor` command. It is old JavaScript on purpose: Node versions that cannot run the program
// must be able to report that. The program itself is main.ts.

var required = 24;
var major = parseInt(process.versions.node, 10);

// A server reloads the limits of tenants at SIGHUP. Before it listens, the signal must not end it.
if (process.argv[2] === "serve") process.on("SIGHUP", function () {});

if (major >= required) {
  void import("./compile-cache.js").then(function () {
    return import("./main.ts");
  });
} else {
  var lines = [
    "needs Node " + required + " or newer, this is Node " + process.versions.node + ".",
    "On Linux, `npm ci` in its folder installs Node " + required + " for `npm start` and",
    "`npm run spoor -- ...`; elsewhere install Node " + required + " from https://nodejs.org.",
  ];
  process.stderr.write("spoor: " + lines.join("\nspoor: ") + "\n");
  process.exitCode = 1;
}
