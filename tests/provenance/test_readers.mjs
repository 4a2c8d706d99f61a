// test_readers.mjs HIMMEL MAKE_MODEL CREDENTIALS - Content Credentials between implementations: what himmel signs, c2pa-rs and c2pa-ts find valid;
// what they sign, himmel does; a byte changed anywhere that counts is caught by all three.   SPDX-License-Identifier: MIT
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mimeOf, openSigner, readRust, readTs, writeRust, writeTs } from "./readers.mjs";

const [himmel, makeModel, himmelCredentials] = process.argv.slice(2);
const dir = mkdtempSync(join(tmpdir(), "himmel-readers-"));
process.on("exit", () => rmSync(dir, { recursive: true, force: true }));
process.chdir(dir);
let passed = 0, failed = 0;
function check(ok, what) {
  if (ok) passed++;
  else failed++, console.error(`FAILED: ${what}`);
}
const load = path => new Uint8Array(readFileSync(path));

function run(identity, ...args) {
  const env = { ...process.env, HIMMEL_MODEL: "tiny.safetensors", HIMMEL_IDENTITY_DIR: identity };
  const r = spawnSync(himmel, args, { env, encoding: "utf8", maxBuffer: 1 << 28 });
  return { code: r.status, out: r.stdout, err: r.stderr };
}
/* credentials of files as himmel sees them, in order */
function verify(identity, ...files) {
  return run(identity, "verify", "--json", ...files).out.trim().split("\n").map(line => JSON.parse(line).credentials);
}

/* the same without looking for watermarks: for hundreds of files */
function credentials(identity, ...files) {
  return execFileSync(himmelCredentials, [identity, ...files], { encoding: "utf8", maxBuffer: 1 << 28 }).trim().split("\n").map(line => JSON.parse(line));
}

execFileSync(makeModel, ["tiny.safetensors"]);
for (const [name, algorithm] of [["ed", "Ed25519"], ["p256", "ES256"], ["p384", "ES384"]])
  check(run(name, "identity", "new", "--name", name, "--algorithm", algorithm).code === 0, `identity ${algorithm}`);
check(run("reader", "identity", "trust", "ed/root.pem").code === 0, "trust");

/* An identity with a key that himmel does not make itself. */
function importIdentity(name, ...newkey) {
  const openssl = (...args) => execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
  openssl("req", "-x509", ...newkey, "-nodes", "-keyout", `${name}-root.key`, "-out", `${name}-root.pem`, "-days", "30", "-subj", `/O=somebody/CN=${name} root`,
    "-addext", "keyUsage=critical,keyCertSign");
  openssl("req", ...newkey, "-nodes", "-keyout", `${name}.key`, "-new", "-out", `${name}.csr`, "-subj", `/O=somebody/CN=${name}`);
  writeFileSync(`${name}.ext`, "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=emailProtection\n" +
    "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n");
  openssl("x509", "-req", "-in", `${name}.csr`, "-CA", `${name}-root.pem`, "-CAkey", `${name}-root.key`, "-CAcreateserial", "-days", "20", "-extfile", `${name}.ext`,
    "-out", `${name}.pem`);
  writeFileSync(`${name}-chain.pem`, readFileSync(`${name}.key`, "utf8") + readFileSync(`${name}.pem`, "utf8"), { mode: 0o600 });
  const r = run(name, "identity", "import", `${name}-chain.pem`);
  check(r.code === 0, `import ${name}: ${r.err}`);
}
importIdentity("rsa", "-newkey", "rsa:2048");

// ---- ours, read by others ----

const quick = ["--size", "64x64", "--steps", "1", "--seed", "5", "-q"], film = [...quick, "--fps", "4", "--seconds", "1"];
const open = ["--sign-prompt", "--mining", "forbidden"];
const made = [ // file, identity, its root, arguments
  ["film.mp4", "ed", "ed/root.pem", ["sunset over a calm sea", ...quick, "--fps", "4", "--seconds", "2", ...open]],
  ["picture.png", "ed", "ed/root.pem", ["image", "sunset", ...quick, "--mining", "allowed"]],
  ["picture.jpg", "p256", "p256/root.pem", ["image", "sunset", ...quick]],
  ["picture.webp", "p384", "p384/root.pem", ["image", "sunset", ...quick]],
  ["rsa.png", "rsa", "rsa-root.pem", ["image", "sunset", ...quick]],
  ["remixed.mp4", "ed", "ed/root.pem", ["remix", "film.mp4", "fog", "--steps", "1", "-q"]],
  ["animated.mp4", "p256", "p256/root.pem", ["animate", "picture.jpg", "fog", ...film]],
  ["extended.mp4", "ed", "ed/root.pem", ["extend", "film.mp4", "fog", "--after", "1", "--steps", "1", "-q"]],
  ["inpainted.png", "ed", "ed/root.pem", ["inpaint", "picture.png", "a kite", "--box", "8,8,24,16", "--steps", "1", "-q"]],
  ["inpainted.mp4", "ed", "ed/root.pem", ["inpaint", "film.mp4", "a kite", "--box", "8,8,24,16", "--steps", "1", "-q"]],
];
const assertion = (r, label) => r.report.manifests[r.report.active_manifest].assertions.find(a => a.label === label)?.data;
const seen = {};
for (const [file, identity, root, args] of made) {
  const r = run(identity, ...args, "-o", file);
  check(r.code === 0, `${file}: ${r.err}`);
  const bytes = load(file), pem = readFileSync(root, "utf8");
  const stranger = await readRust(bytes, mimeOf(file)), known = await readRust(bytes, mimeOf(file), pem), other = await readTs(bytes);
  seen[file] = known;
  check(stranger.state === "valid" && !stranger.trusted && !stranger.failures.length, `${file}, c2pa-rs: ${stranger.failures}`);
  check(known.state === "valid" && known.trusted && !known.failures.length, `${file}, c2pa-rs with its root: ${known.failures}`);
  check(other.state === "valid" && !other.failures.length, `${file}, c2pa-ts: ${other.failures}`);
  const ours = verify("reader", file)[0];
  check(ours.state === "valid" && ours.trusted === (identity === "ed"), `${file}, himmel: ${ours.state} ${ours.trusted}`);
  check(ours.manifest === known.report.active_manifest, `${file}: manifests ${ours.manifest}, ${known.report.active_manifest}`);
}
{
  const say = assertion(seen["film.mp4"], "org.himmel.generation"), mining = assertion(seen["film.mp4"], "cawg.training-mining");
  const action = assertion(seen["film.mp4"], "c2pa.actions.v2").actions[0];
  check(action.action === "c2pa.created" && action.digitalSourceType.endsWith("/trainedAlgorithmicMedia"), JSON.stringify(action));
  check(say.prompt === "sunset over a calm sea" && say.seed === 5, JSON.stringify(say));
  check(mining.entries["cawg.ai_generative_training"].use === "notAllowed", JSON.stringify(mining));
  check(assertion(seen["picture.png"], "cawg.training-mining").entries["cawg.data_mining"].use === "allowed", "mining allowed");
  const quiet = assertion(seen["picture.jpg"], "org.himmel.generation");
  check(!("prompt" in quiet) && !("seed" in quiet), `not asked to sign them: ${JSON.stringify(quiet)}`);
  const remix = seen["remixed.mp4"].report, parent = remix.manifests[remix.active_manifest].ingredients[0];
  check(parent.relationship === "parentOf" && parent.active_manifest === seen["film.mp4"].report.active_manifest, "the remixed film");
  check(parent.validation_results.activeManifest.failure.length === 0, "the remixed film is said to be broken");
  for (const [name, from] of [["extended.mp4", "film.mp4"], ["inpainted.png", "picture.png"], ["inpainted.mp4", "film.mp4"]]) {
    const r = seen[name].report, active = r.manifests[r.active_manifest], input = active.ingredients[0];
    check(input.relationship === "parentOf" && input.active_manifest === seen[from].report.active_manifest, `${name}: its ingredient`);
    check(input.validation_results.activeManifest.failure.length === 0, `${name}: ${from} is said to be broken`);
    const done = active.assertions.find(a => a.label === "c2pa.actions.v2").data.actions;
    check(done[0].action === "c2pa.opened" && done.some(a => a.digitalSourceType?.endsWith("/compositeWithTrainedAlgorithmicMedia")),
          `${name}: ${JSON.stringify(done)}`);
  }
  const still = seen["animated.mp4"].report, input = still.manifests[still.active_manifest].ingredients[0];
  check(input.relationship === "inputTo" && input.active_manifest === seen["picture.jpg"].report.active_manifest, "the animated picture");
}

// ---- others', read by us ----

const captured = { assertions: [{ label: "c2pa.actions.v2", data: { actions: [{ action: "c2pa.created",
  digitalSourceType: "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture" }] } }] };
const edited = { assertions: [{ label: "c2pa.actions.v2", data: { actions: [{ action: "c2pa.color_adjustments" }] } }] };
/* The file without its manifest: what another tool starts from. */
function bare(file) {
  execFileSync("ffmpeg", ["-v", "error", "-y", "-i", file, ...(file.endsWith("mp4") ? ["-c", "copy", "-bitexact"] : []), `bare-${file}`]);
  return load(`bare-${file}`);
}
const plain = Object.fromEntries(["film.mp4", "picture.png", "picture.jpg", "picture.webp"].map(f => [f, bare(f)]));
const signers = { ed: ["ed/identity.pem", "ed25519"], p256: ["p256/identity.pem", "es256"], p384: ["p384/identity.pem", "es384"],
  rsa: ["rsa/identity.pem", "ps256"] };
for (const name in signers) signers[name] = openSigner(readFileSync(signers[name][0], "utf8"), signers[name][1]);

const theirs = [];
async function add(name, make) {
  try {
    writeFileSync(name, await make);
    theirs.push(name);
  } catch (e) {
    check(false, `${name}: ${e?.stack ?? e}`);
  }
}
for (const file in plain)
  for (const name of file === "picture.png" ? Object.keys(signers) : ["p256"])
    await add(`rust-${name}-${file}`, writeRust(plain[file], mimeOf(file), signers[name], captured));
for (const file of ["film.mp4", "picture.png", "picture.jpg"]) await add(`ts-${file}`, writeTs(plain[file], signers.ed));
await add("edit-picture.jpg", writeRust(plain["picture.jpg"], "image/jpeg", signers.p256, edited,
  [{ name: "picture.png", bytes: load("picture.png"), relationship: "parentOf" }]));
await add("edit-film.mp4", writeRust(plain["film.mp4"], "video/mp4", signers.p256, edited,
  [{ name: "remixed.mp4", bytes: load("remixed.mp4"), relationship: "parentOf" }, { name: "picture.jpg", bytes: load("picture.jpg"), relationship: "componentOf" }]));

function rng(seed) { // a small generator, so that a failure can be had again
  return n => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor(seed / 2 ** 32 * n);
  };
}
const below = rng(7), asVerified = verify("reader", ...theirs);
/* Copies with a byte changed somewhere, whatever it is for. */
for (const name of theirs.slice()) {
  const bytes = load(name);
  for (let i = 0; i < 8; i++) {
    let at;
    do at = below(bytes.length); while (!bytes[at]); // not in padding, of which there is much
    const was = bytes[at];
    bytes[at] ^= 1 + below(255);
    const spoilt = `spoilt${i}-${name}`;
    writeFileSync(spoilt, bytes);
    theirs.push(spoilt);
    bytes[at] = was;
  }
}
const views = credentials("reader", ...theirs);
for (const [i, one] of asVerified.entries()) check(JSON.stringify(one) === JSON.stringify(views[i]), `${theirs[i]}: himmel verify says something else`);
let agreed = 0, agreedTs = 0, split = 0;
for (const [i, name] of theirs.entries()) {
  const ours = views[i], bytes = load(name), rust = await readRust(bytes, mimeOf(name), readFileSync("ed/root.pem", "utf8")), ts = await readTs(bytes);
  const whole = !name.startsWith("spoilt");
  agreed += (ours.state === "valid") === (rust.state === "valid");
  agreedTs += (ours.state === "valid") === (ts.state === "valid");
  if (whole) check(ours.state === "valid", `${name}: ${JSON.stringify(ours.checks.filter(c => !c.ok))}`);
  if (whole) check(ours.trusted === rust.trusted, `${name}: trusted ${ours.trusted}, c2pa-rs ${rust.trusted}`);
  if (whole && name.startsWith("rust")) check(ours.camera && !ours.made_by_machine, `${name}: what made it`);
  // Of a header that nobody signs, one of them may mind what the other does not; a few of the changed bytes fall there.
  const both = rust.state === "valid" && ts.state === "valid";
  if (!whole && rust.state !== ts.state && ++split <= 2) continue;
  check((ours.state === "valid") === both, `${name}: himmel ${ours.state}, c2pa-rs ${rust.state} ${rust.failures}, c2pa-ts ${ts.state} ${ts.failures}`);
}
console.log(`${theirs.length} files of others: verdict as c2pa-rs in ${agreed}, as c2pa-ts in ${agreedTs}; these two differ in ${split}`);

// ---- tampering ----

/* Parts of the film by name: [start, length]; contents: what assertions say, without the boxes around. */
function partsOf(bytes, contents) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length), parts = {};
  const name = at => String.fromCharCode(...bytes.subarray(at, at + 4));
  let store;
  for (let at = 0; at < bytes.length; at += view.getUint32(at)) {
    const n = view.getUint32(at);
    if (name(at + 4) === "mdat" || name(at + 4) === "moov") parts[name(at + 4)] = [at + 8, n - 8];
    if (name(at + 4) === "uuid") store = [at + 45, n - 45];
  }
  const superbox = (at, n) => { // {label, content: [start, length]} of each inner superbox
    const found = [];
    for (let p = at + 8; p < at + n; p += view.getUint32(p)) {
      if (name(p + 4) !== "jumb") continue;
      const d = p + 8, nd = view.getUint32(d), label = String.fromCharCode(...bytes.subarray(d + 25, d + nd - 1));
      found.push({ label, at: p, n: view.getUint32(p), content: [d + nd, view.getUint32(p) - 8 - nd] });
    }
    return found;
  };
  const manifest = superbox(store[0], store[1])[0];
  for (const box of superbox(manifest.at, manifest.n)) {
    if (box.label === "c2pa.assertions") {
      parts.assertions = box.content;
      for (const one of superbox(box.at, box.n)) contents.push([one.content[0] + 8, one.content[1] - 8]);
    }
    if (box.label === "c2pa.claim.v2") parts.claim = [box.content[0] + 8, box.content[1] - 8];
    if (box.label === "c2pa.signature") parts.signature = [box.content[0] + 8, box.content[1] - 8];
  }
  return parts;
}

const bytes = load("film.mp4"), contents = [], parts = partsOf(bytes, contents), root = readFileSync("ed/root.pem", "utf8"), flips = [];
check(Object.keys(parts).sort().join() === "assertions,claim,mdat,moov,signature", `parts ${Object.keys(parts)}`);
for (const part in parts)
  for (let i = 0; i < 120; i++) flips.push({ part, at: parts[part][0] + below(parts[part][1]), bits: 1 + below(255) });
const names = flips.map((f, i) => {
  const copy = bytes.slice();
  copy[f.at] ^= f.bits;
  writeFileSync(`flip${i}.mp4`, copy);
  return `flip${i}.mp4`;
});
const caught = credentials("reader", ...names).map(c => c.state !== "valid");
let around = 0, unseen = 0;
const missed = { himmel: 0, "c2pa-rs": 0, "c2pa-ts": 0 };
for (const [i, f] of flips.entries()) {
  const copy = load(names[i]), rust = await readRust(copy, "video/mp4", root), ts = await readTs(copy);
  const miss = (who, yes) => {
    if (!yes) return;
    missed[who]++;
    console.error(`${who} misses byte ${f.at} ^ ${f.bits} (${f.part}, byte ${f.at - parts[f.part][0]} of ${parts[f.part][1]})`);
  };
  miss("himmel", !caught[i]);
  // Both write the boxes around an assertion anew before they hash it, and so may not see that spare bits of them changed.
  if (f.part === "assertions" && !contents.some(([start, n]) => f.at >= start && f.at < start + n)) {
    around++, unseen += rust.state === "valid" || ts.state === "valid";
    continue;
  }
  miss("c2pa-rs", rust.state === "valid");
  miss("c2pa-ts", ts.state === "valid");
}
check(flips.length - around >= 500, `${around} of ${flips.length} changes are in boxes around assertions`);
for (const who in missed) check(missed[who] === 0, `${who} misses ${missed[who]} of ${flips.length} changed bytes`);
console.log(`${flips.length} changed bytes in mdat, moov, claim, assertions and signature: missed ${JSON.stringify(missed)};` +
  ` ${around} of them in boxes around assertions, of which the others miss ${unseen}`);

console.log(`${passed} passed, ${failed} failed`);
process.exit(failed || !passed ? 1 : 0);
