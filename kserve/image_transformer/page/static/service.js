// The calls to the service. Addresses are relative to the page, which may lie behind a proxy's path.

const TRIES = 10;

/** What the service, or the way to it, did not do; the message is a sentence for whoever looks at the page. */
export class Refusal extends Error {}

const pause = (milliseconds) => new Promise((go) => setTimeout(go, milliseconds));

/** Asks, and again after the time that the service names while it cannot answer; throws Refusal. */
async function ask(path, options = {}, tries = TRIES) {
  for (let attempt = 1; ; attempt++) {
    let response;
    try {
      response = await fetch(path, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refusal("Nothing came back; look whether the service runs and the picture is still where it was.");
    }
    if (response.ok) return response;
    const wait = Number(response.headers.get("retry-after"));
    if (!wait || attempt === tries) throw new Refusal(await sentence(response));
    await pause(1000 * wait * (0.5 + Math.random()));
    options.signal?.throwIfAborted();
  }
}

/** What an answer says is wrong; a proxy's need not be the service's JSON. */
async function sentence(response) {
  try {
    const { error } = await response.json();
    if (typeof error === "string") return error;
  } catch {
    // said below
  }
  return `The answer was ${response.status}; try again in a moment.`;
}

const known = new Map();

/** Returns /info of a version, or of the newest where none is named. A version's never changes, so it is asked once. */
export async function about(version) {
  if (version && known.has(version)) return known.get(version);
  const info = await (await ask(version ? `info?version=${encodeURIComponent(version)}` : "info")).json();
  known.set(info.version, info);
  return info;
}

/**
 * Classifies a picture.
 * @returns {Promise<{label: string, confidence: number, probabilities: number[], version: string, unlike: ?boolean}>}
 *   `unlike` tells whether it is unlike anything learned; null where the version cannot tell.
 */
export async function classified(file, signal) {
  const [info] = known.values();
  const most = info?.limits.max_body_bytes;
  if (file.size > most) {
    throw new Refusal(`The file has more than ${most.toLocaleString("en")} bytes; make the picture smaller.`);
  }
  const headers = { "Content-Type": "application/octet-stream" };
  const response = await ask("predict", { method: "POST", headers, body: file, signal });
  const { class_name: label, confidence, probabilities } = await response.json();
  const mark = response.headers.get("x-out-of-distribution");
  const unlike = mark === null ? null : mark === "true";
  return { label, confidence, probabilities, version: response.headers.get("x-model-version"), unlike };
}

/**
 * Asks which parts of a picture carry its class. What was not done in time is asked for once more, not ten times.
 * @returns {Promise<Object>} The answer's `explanation`.
 */
export async function explained(file, signal) {
  const headers = { "Content-Type": "application/octet-stream" };
  const response = await ask("predict?explain=true", { method: "POST", headers, body: file, signal }, 2);
  return (await response.json()).explanation;
}

/**
 * Asks the filters model of a version for what it makes of a picture, as v2's binary tensors.
 * @returns {Promise<{size: number, depth: number, values: Float32Array}>} Row after row, `depth` numbers a pixel:
 *   red, green and blue of the picture itself, then of each filter; 0 to 1, where edges reach beyond.
 */
export async function filtered(file, model, version) {
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, file.size, true);
  const request = new TextEncoder().encode(
    JSON.stringify({
      inputs: [{ name: "image", datatype: "BYTES", shape: [1], parameters: { binary_data_size: 4 + file.size } }],
      outputs: [{ name: "filtered", parameters: { binary_data: true } }],
    }),
  );
  const path = `v2/models/${encodeURIComponent(model)}-filters/versions/${encodeURIComponent(version)}/infer`;
  const response = await ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream", "Inference-Header-Content-Length": request.length },
    body: new Blob([request, length, file]),
  });
  const json = Number(response.headers.get("inference-header-content-length"));
  const bytes = await response.arrayBuffer();
  const [, size, , depth] = JSON.parse(new TextDecoder().decode(bytes.slice(0, json))).outputs[0].shape;
  return { size, depth, values: new Float32Array(bytes.slice(json)) };
}

/** Returns the examples that come with the page, as names of files beside it. */
export async function examples() {
  return (await ask(new URL("examples/list.json", import.meta.url))).json();
}

/** Returns an example's address. */
export const example = (name) => new URL(`examples/${name}`, import.meta.url);
