// One picture and its answer.

import { showBars } from "./bars.js";
import { calls } from "./calls.js";
import { announce, by, make, percent, shown } from "./dom.js";
import { showHead } from "./head.js";
import { drawn } from "./seen.js";
import { about, classified, filtered } from "./service.js";
import { hideReason, offerReason } from "./why.js";

let latest = 0;
let address = "";

/**
 * Asks for a picture's answer and shows it; one that comes when another picture was given since is dropped.
 * @param {{name: string, file: Blob}} picture
 */
export async function showAnswer({ name, file }) {
  const turn = ++latest;
  by("problem").textContent = "";
  try {
    const answer = await classified(file);
    const info = await about(answer.version);
    if (turn !== latest) return;
    by("answer").hidden = false;
    showHead(info);
    by("said").replaceChildren(make("bdi", {}, answer.label), ` ${percent(answer.confidence)}`);
    by("unlike").hidden = !answer.unlike;
    showBars(answer.probabilities, info);
    preview(name, file);
    offerReason(file, answer, info);
    by("seen").replaceChildren(); // until the service has said what it sees of this one
    describe(info);
    const texts = calls(name);
    by("curl").textContent = texts.curl;
    by("python").textContent = texts.python;
    const mark = answer.unlike ? ", unlike anything this version has learned" : "";
    announce(`${shown(name)}: ${answer.label}, ${percent(answer.confidence)}${mark}`);
    by("answer").scrollIntoView({ block: "nearest" });
    await look(file, info, turn);
  } catch (error) {
    if (turn === latest) fail(`${shown(name)}: ${error.message}`);
  }
}

/** Says what did not work. */
export function fail(sentence) {
  hideAnswer();
  by("problem").textContent = sentence;
}

/** Makes room for something else; an answer that is still to come is dropped. */
export function hideAnswer() {
  latest++;
  hideReason();
  by("answer").hidden = true;
  by("problem").textContent = "";
}

function preview(name, file) {
  const figure = by("preview");
  const [picture, caption] = figure.querySelectorAll("img:not(#map), figcaption");
  const before = address;
  address = URL.createObjectURL(file);
  picture.hidden = false;
  picture.alt = "The picture that was given";
  picture.onerror = () => {
    picture.hidden = true;
    caption.append(" — this browser cannot show its format; below is what the network sees.");
  };
  picture.src = address;
  URL.revokeObjectURL(before);
  caption.replaceChildren(make("bdi", {}, shown(name)));
}

function describe(info) {
  by("version").textContent = info.version;
  const { classes, ...lineage } = info.lineage; // the bars name them
  by("lineage").replaceChildren(...flat({ architecture: info.architecture, fit: info.fit, ...lineage }));
}

function flat(facts, before = "") {
  return Object.entries(facts).flatMap(([key, value]) => {
    const name = before + key.replaceAll("_", " ");
    if (value !== null && typeof value === "object") return flat(value, `${name}: `);
    return [make("dt", {}, name), make("dd", {}, make("bdi", {}, written(value)))];
  });
}

/** A measured number to four digits; whole ones, and texts, as they are. */
function written(value) {
  return typeof value === "number" && !Number.isInteger(value) ? value.toPrecision(4) : String(value);
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
