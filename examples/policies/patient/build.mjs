// Makes a component of policy.js: node build.mjs WIT-FOLDER OUTPUT

import { readFile, writeFile } from "node:fs/promises";
import { componentize } from "@bytecodealliance/componentize-js";

const [witPath, output] = process.argv.slice(2);
const source = await readFile(new URL("policy.js", import.meta.url), "utf8");
const { component } = await componentize(source, {
  witPath,
  worldName: "policy",
  // A policy reaches nothing, so it brings nothing along that would.
  disableFeatures: ["random", "clocks", "http", "stdio", "fetch-event"],
});
await writeFile(output, component);
