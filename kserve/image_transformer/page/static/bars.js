// A version's classes as bars, the most probable first; of many only the first ones, until all are asked for.

import { by, count, make, percent } from "./dom.js";

const FIRST = 10;

let rows = [];
let whole = false;

const list = by("bars");
const button = by("all");
const search = by("search");
const words = search.querySelector("input");

/**
 * Shows what an answer says of each class.
 * @param {number[]} probabilities
 * @param {{classes: string[], unlearned: string[]}} info Of the version that answered.
 */
export function showBars(probabilities, info) {
  const unlearned = new Set(info.unlearned);
  rows = probabilities
    .map((share, id) => ({ share, name: info.classes[id], learned: !unlearned.has(info.classes[id]) }))
    .sort((one, other) => other.share - one.share);
  by("more").hidden = rows.length <= FIRST;
  draw();
}

button.addEventListener("click", () => {
  whole = !whole;
  draw();
});
words.addEventListener("input", draw);

function draw() {
  button.textContent = whole ? `The first ${FIRST} alone` : `All ${count(rows.length)} classes`;
  button.setAttribute("aria-expanded", String(whole));
  search.hidden = !whole;
  const wanted = words.value.trim().toLowerCase();
  const drawn = whole ? rows.filter(({ name }) => name.toLowerCase().includes(wanted)) : rows.slice(0, FIRST);
  list.replaceChildren(...drawn.map(bar));
}

function bar({ share, name, learned }) {
  const track = make("span", { class: "track", "aria-hidden": "true" }, make("span"));
  track.firstChild.style.setProperty("width", `${100 * share}%`);
  const said = learned ? percent(share) : "not learned";
  return make("li", {}, make("bdi", { class: "name" }, name), make("span", { class: "share" }, said), track);
}
