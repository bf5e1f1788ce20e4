#!/usr/bin/env node
// The `spoor` command. Plain old JavaScript on purpose: Node versions that can not run the program
// must still be able to say so. The program itself is main.ts.

var required = 24;
var major = parseInt(process.versions.node, 10);

// A server reads the limits of tenants at SIGHUP. Until it can, the signal must not end it.
if (process.argv[2] === "serve") process.on("SIGHUP", function () {});

if (major >= required) {
  void import("./compile-cache.js").then(function () {
    return import("./main.ts");
  });
} else {
  var lines = [
    "needs Node " + required + " or newer, this is Node " + process.versions.node + ".",
    "On Linux, `npm ci` in its folder brings Node " + required + " along for `npm start` and",
    "`npm run spoor -- ...`; elsewhere install Node " + required + " from https://nodejs.org.",
  ];
  process.stderr.write("spoor: " + lines.join("\nspoor: ") + "\n");
  process.exitCode = 1;
}
