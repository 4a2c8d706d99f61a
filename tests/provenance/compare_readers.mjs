// compare_readers.mjs HIMMEL FILE... - what himmel, c2pa-rs and c2pa-ts say about files, for example of c2pa-org/public-testfiles; exit
// code 1 if himmel and c2pa-rs differ.   SPDX-License-Identifier: MIT
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { mimeOf, readRust, readTs } from "./readers.mjs";

const [himmel, ...files] = process.argv.slice(2);
let differ = 0, tsDiffer = 0;
for (const file of files) {
  const bytes = new Uint8Array(readFileSync(file));
  const said = spawnSync(himmel, ["verify", "--json", file], { encoding: "utf8" }).stdout;
  const ours = said ? JSON.parse(said).credentials : { state: "unreadable", checks: [] };
  const rust = await readRust(bytes, mimeOf(file)), ts = await readTs(bytes);
  differ += (ours.state === "valid") !== (rust.state === "valid");
  tsDiffer += (ours.state === "valid") !== (ts.state === "valid");
  const why = ours.checks.filter(c => !c.ok && !c.known).map(c => c.code)[0] ?? "";
  console.log(`${basename(file)}: himmel ${ours.state} ${why}, c2pa-rs ${rust.state} ${(rust.failures[0] ?? "").slice(0, 50)}, ` +
    `c2pa-ts ${ts.state} ${(ts.failures[0] ?? "").slice(0, 50)}`);
}
console.log(`${files.length} files: himmel and c2pa-rs differ in ${differ}, himmel and c2pa-ts in ${tsDiffer}`);
process.exit(differ ? 1 : 0);
