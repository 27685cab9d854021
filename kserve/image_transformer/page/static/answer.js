// One picture and its answer.

import { showBars } from "./bars.js";
import { calls } from "./calls.js";
import { by, make, percent, shown } from "./dom.js";
import { drawn } from "./seen.js";
import { about, classified, filtered } from "./service.js";

let latest = 0;
let address = "";

/**
 * Asks for a picture's answer and shows it; one that comes when another picture was given since is dropped.
 * @param {{name: string, file: Blob}} picture
 */
export async function showAnswer({ name, file }) {
  const turn = ++latest;
  by("problem").hidden = true;
  try {
    const answer = await classified(file);
    const info = await about(answer.version);
    if (turn !== latest) return;
    by("answer").hidden = false;
    by("said").replaceChildren(make("bdi", {}, answer.label), ` ${percent(answer.confidence)}`);
    showBars(answer.probabilities, info);
    preview(name, file);
    describe(info);
    const texts = calls(name);
    by("curl").textContent = texts.curl;
    by("python").textContent = texts.python;
    by("said").focus({ preventScroll: true });
    by("answer").scrollIntoView({ block: "nearest" });
    await look(file, info, turn);
  } catch (error) {
    if (turn === latest) fail(`${shown(name)}: ${error.message}`);
  }
}

/** Says what did not work. */
export function fail(sentence) {
  by("answer").hidden = true;
  by("problem").textContent = sentence;
  by("problem").hidden = false;
}

function preview(name, file) {
  const figure = by("preview");
  const [picture, caption] = figure.children;
  URL.revokeObjectURL(address);
  address = URL.createObjectURL(file);
  picture.hidden = false;
  picture.alt = "The picture that was given";
  picture.onerror = () => {
    picture.hidden = true;
    caption.append(" — this browser cannot show its format; below is what the network sees.");
  };
  picture.src = address;
  caption.replaceChildren(make("bdi", {}, shown(name)));
}

function describe(info) {
  by("version").textContent = info.version;
  const facts = { architecture: info.architecture, fit: info.fit, ...info.lineage };
  by("lineage").replaceChildren(...flat(facts));
}

function flat(facts, before = "") {
  return Object.entries(facts).flatMap(([key, value]) => {
    const name = before + key.replaceAll("_", " ");
    if (value !== null && typeof value === "object") return flat(value, `${name}: `);
    return [make("dt", {}, name), make("dd", {}, make("bdi", {}, String(value)))];
  });
}

async function look(file, info, turn) {
  const unseen = by("unseen");
  let figures = [];
  try {
    figures = drawn(await filtered(file, info.model, info.version), info.filters);
    if (turn === latest) unseen.hidden = true;
  } catch (error) {
    // The answer stands without it: an older store has no filters model beside the classifier.
    if (turn === latest) {
      unseen.textContent = error.message;
      unseen.hidden = false;
    }
  }
  if (turn === latest) by("seen").replaceChildren(...figures);
}
