// readers.mjs - two foreign implementations of Content Credentials as functions, readers and writers: c2pa-rs (Rust, as WebAssembly)
// and c2pa-ts (TypeScript).   SPDX-License-Identifier: MIT
import { constants, createPrivateKey, sign as signWith, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";

const modules = process.env.HIMMEL_NODE_MODULES + "/node_modules"; // tools/node.sh

// The Rust writer reads Blobs as a browser's worker does; here they are bytes.
class BytesBlob extends Blob {
  constructor(bytes) { super([bytes]); this.bytes = bytes; }
  get size() { return this.bytes.length; }
  slice(from = 0, to = this.bytes.length) { return new BytesBlob(this.bytes.subarray(from, to)); }
}
globalThis.FileReaderSync = class {
  readAsArrayBuffer(b) { return b.bytes.buffer.slice(b.bytes.byteOffset, b.bytes.byteOffset + b.bytes.length); }
};

const rustPackage = modules + "/@contentauth/c2pa-wasm/pkg/";
const rust = await import(rustPackage + "c2pa.js");
rust.initSync({ module: readFileSync(rustPackage + "c2pa_bg.wasm") });
const tsPackage = modules + "/@trustnxt/c2pa-ts/dist/";
const { BMFF, JPEG, PNG } = await import(tsPackage + "asset/index.js");
const { SuperBox } = await import(tsPackage + "jumbf/index.js");
const { LocalSigner } = await import(tsPackage + "cose/index.js");
const ts = await import(tsPackage + "manifest/index.js");
const { X509Certificate: TsCertificate } = await import(modules + "/@peculiar/x509/build/x509.es.js");
BMFF.canReadBrands.add("isom"); // 0.9.4 knows the brands of pictures only; boxes and hashes are the same

const mimes = { jpg: "image/jpeg", jpeg: "image/jpeg", png: "image/png", webp: "image/webp", mp4: "video/mp4", mov: "video/quicktime",
  heic: "image/heic", heif: "image/heif", avif: "image/avif", m4a: "audio/mp4", wav: "audio/wav" };
export const mimeOf = path => mimes[path.split(".").pop().toLowerCase()];

// 0.9.4 has no WebP; all it asks of a container is here.
class WebP {
  mimeType = "image/webp";
  constructor(data) {
    this.data = data;
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    for (let at = 12; at + 8 <= data.length;) {
      const n = view.getUint32(at + 4, true);
      if (String.fromCharCode(...data.subarray(at, at + 4)) === "C2PA") this.at = at, this.n = n;
      at += 8 + n + (n & 1);
    }
  }
  getDataLength() { return this.data.length; }
  async getDataRange(start = 0, n = this.data.length - start) { return this.data.subarray(start, start + n); }
  getManifestJUMBF() { return this.n && this.data.subarray(this.at + 8, this.at + 8 + this.n); }
  getHashExclusionRange() { return { start: this.at, length: 8 + this.n }; }
}

/* Both: {state: "none" | "valid" | "broken", trusted, failures: [codes]}; signing by somebody unknown is no failure. */
export async function readRust(bytes, mime, rootPem) {
  const settings = rootPem ? { trust: { user_anchors: rootPem } } : {};
  let reader;
  try {
    reader = await rust.WasmReader.fromBytes(mime, bytes, JSON.stringify(settings));
    const report = JSON.parse(reader.json());
    const failures = (report.validation_status ?? []).map(s => s.code).filter(c => !c.endsWith(".untrusted"));
    const codes = Object.values(report.validation_results.activeManifest).flat().map(s => s.code);
    return { state: report.validation_state === "Invalid" ? "broken" : "valid", trusted: report.validation_state === "Trusted",
      failures, codes, report };
  } catch (e) {
    const text = String(e?.message ?? e);
    return { state: /JumbfNotFound|RemoteManifestFetch/.test(text) ? "none" : "broken", trusted: false, failures: [text], codes: [] };
  } finally {
    reader?.free();
  }
}

function openTs(bytes) {
  if (JPEG.canRead(bytes)) return new JPEG(bytes);
  if (PNG.canRead(bytes)) return new PNG(bytes);
  return String.fromCharCode(...bytes.subarray(0, 4)) === "RIFF" ? new WebP(bytes) : new BMFF(bytes);
}

export async function readTs(bytes) {
  let asset, jumbf, result;
  try {
    asset = openTs(bytes);
    jumbf = asset.getManifestJUMBF();
    if (!jumbf) return { state: "none", failures: [] };
    result = await ts.ManifestStore.read(SuperBox.fromBuffer(jumbf)).validate(asset);
  } catch (e) {
    return { state: "broken", failures: [String(e?.message ?? e)] };
  }
  const failures = result.statusEntries.filter(s => !s.success).map(s => s.code);
  return { state: result.isValid ? "valid" : "broken", failures };
}

// ---- writing ----

/* {key, certs: [PEM, the signer's first], alg: "es256" ...} from a PEM file of a key and its chain */
export function openSigner(pem, alg) {
  const certs = pem.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g).map(c => new X509Certificate(c).raw);
  return { key: createPrivateKey(pem), certs, alg };
}

const algorithms = { ed25519: [-8, null], es256: [-7, "sha256"], es384: [-35, "sha384"], es512: [-36, "sha512"], ps256: [-37, "sha256"],
  ps384: [-38, "sha384"], ps512: [-39, "sha512"] };

function head(major, n) {
  if (n < 24) return Buffer.from([major << 5 | n]);
  if (n < 256) return Buffer.from([major << 5 | 24, n]);
  return Buffer.from([major << 5 | 25, n >> 8, n & 255]);
}
const cborBytes = b => Buffer.concat([head(2, b.length), b]);
const cborText = s => Buffer.concat([head(3, s.length), Buffer.from(s)]);
const cborInt = i => i >= 0 ? head(0, i) : head(1, -1 - i);

/* COSE_Sign1 of exactly `room` bytes: the Rust package leaves this to the caller. */
function cose(signer, payload, room) {
  const [number, hash] = algorithms[signer.alg];
  const header = Buffer.concat([head(5, 2), cborInt(1), cborInt(number), cborInt(33), head(4, signer.certs.length), ...signer.certs.map(cborBytes)]);
  const signed = Buffer.concat([head(4, 4), cborText("Signature1"), cborBytes(header), head(2, 0), cborBytes(Buffer.from(payload))]);
  const options = { key: signer.key, dsaEncoding: "ieee-p1363" };
  if (signer.alg.startsWith("ps")) Object.assign(options, { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST });
  const signature = cborBytes(signWith(hash, signed, options));
  const before = Buffer.concat([head(6, 18), head(4, 4), cborBytes(header), head(5, 1), cborText("pad")]);
  const after = Buffer.concat([Buffer.from([0xf6]), signature]);
  return new Uint8Array(Buffer.concat([before, cborBytes(Buffer.alloc(room - before.length - after.length - 3)), after]));
}

/* definition: a manifest as c2pa-rs takes it as JSON; parents: [{name, bytes, relationship}] */
export async function writeRust(bytes, mime, signer, definition, parents = []) {
  const builder = rust.WasmBuilder.fromJson(JSON.stringify({ claim_generator_info: [{ name: "another tool", version: "1" }], ...definition }), "{}");
  for (const p of parents)
    await builder.addIngredientFromBlob(JSON.stringify({ title: p.name, relationship: p.relationship }), mimeOf(p.name), new BytesBlob(p.bytes));
  if (parents.some(p => p.relationship === "parentOf")) builder.setIntent("edit"); // writes "opened"
  const room = 4096;
  const sign = async payload => cose(signer, payload, room);
  try {
    return await builder.sign({ alg: signer.alg, reserveSize: room, sign }, [], mime, new BytesBlob(bytes));
  } finally {
    builder.free();
  }
}

export async function writeTs(bytes, signer) {
  const asset = openTs(bytes), store = new ts.ManifestStore();
  const [first, ...others] = signer.certs.map(c => new TsCertificate(c));
  const local = new LocalSigner(signer.key.export({ type: "pkcs8", format: "der" }), algorithms[signer.alg][0], first, others);
  const manifest = store.createManifest({ assetFormat: asset.mimeType, instanceID: "xmp:iid:" + crypto.randomUUID(), defaultHashAlgorithm: "SHA-256", signer: local });
  const film = asset instanceof BMFF;
  const binding = film ? ts.BMFFHashAssertion.createV3("hash", "SHA-256") : ts.DataHashAssertion.create("SHA-256");
  manifest.addAssertion(binding);
  const actions = new ts.ActionAssertion();
  actions.actions.push({ action: ts.ActionType.C2paCreated, digitalSourceType: ts.DigitalSourceType.DigitalCapture });
  manifest.addAssertion(actions);
  await asset.ensureManifestSpace(store.measureSize());
  await binding.updateWithAsset(asset);
  await manifest.sign(local);
  await asset.writeManifestJUMBF(store.getBytes());
  return asset.getDataRange();
}
