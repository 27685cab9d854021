// Many pictures: asked a few at a time, shown a hundred at a time, sorted by any column.

import { csv } from "./csv.js";
import { announce, by, count, make, percent, shown } from "./dom.js";
import { about, classified, Refusal } from "./service.js";

const AT_ONCE = 4; // a browser has six connections to a service; the page itself needs one now and then
const A_PAGE = 100;
const SHOWABLE = /^image\/(jpeg|png|webp|gif|bmp|avif)$/;

const section = by("many");
const body = section.querySelector("tbody");
const headings = [...section.querySelectorAll("[data-sorts]")];

let rows = [];
let order = [];
let sorting = { key: null, down: false };
let start = 0;
let stop = new AbortController();
let drawing = false;
let choose = () => {};

/**
 * Asks for all pictures' answers and shows them as they come, in place of those that were there.
 * @param {{name: string, file: File}[]} pictures
 * @param {function({name: string, file: File}): void} chosen Gets the one that is clicked on.
 */
export async function showMany(pictures, chosen) {
  stop.abort();
  stop = new AbortController();
  const { signal } = stop;
  for (const row of rows) URL.revokeObjectURL(row.address);
  rows = pictures.map((picture) => ({ ...picture, done: false }));
  choose = chosen;
  order = rows;
  start = 0;
  section.hidden = false;
  section.scrollIntoView({ block: "nearest" });
  sort(null);
  const waiting = rows.values(); // shared: each takes the next one
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const row of waiting) {
        await answer(row, signal);
        if (signal.aborted) return;
        later();
      }
    }),
  );
  if (!signal.aborted) announce(progress());
}

async function answer(row, signal) {
  try {
    const found = await classified(row.file, signal);
    const { classes } = await about(found.version);
    Object.assign(row, found, { classes, probabilities: Float32Array.from(found.probabilities) });
  } catch (error) {
    if (signal.aborted) return;
    row.error = error instanceof Refusal ? error.message : String(error);
  }
  row.done = true;
}

/** Draws once for all answers of a moment. */
function later() {
  if (drawing) return;
  drawing = true;
  setTimeout(() => {
    drawing = false;
    draw();
  }, 100);
}

for (const heading of headings) {
  heading.addEventListener("click", () => sort(heading.dataset.sorts));
}
by("before").addEventListener("click", () => turn(-A_PAGE));
by("after").addEventListener("click", () => turn(A_PAGE));
by("csv").addEventListener("click", save);

function turn(lines) {
  start += lines;
  draw();
  section.querySelector(".scrolls").scrollTop = 0;
}

function sort(key) {
  sorting = { key, down: sorting.key === key ? !sorting.down : key === "confidence" };
  start = 0;
  for (const heading of headings) {
    const said = heading.dataset.sorts !== key ? "none" : sorting.down ? "descending" : "ascending";
    heading.parentElement.setAttribute("aria-sort", said);
  }
  draw();
}

const names = new Intl.Collator("en", { numeric: true });

function compared(one, other) {
  const { key, down } = sorting;
  const [left, right] = [one[key], other[key]];
  if (left === undefined || right === undefined) return (left === undefined) - (right === undefined); // last, always
  const sign = typeof left === "number" ? left - right : names.compare(left, right);
  return down ? -sign : sign;
}

function draw() {
  order = sorting.key === null ? rows : [...rows].sort(compared);
  const visible = order.slice(start, start + A_PAGE);
  const lines = visible.map(line);
  if (lines.length !== body.children.length || lines.some((one, at) => one !== body.children[at])) {
    const focused = document.activeElement;
    body.replaceChildren(...lines);
    if (body.contains(focused)) focused.focus(); // who is in the table stays there
  }
  const done = rows.filter((row) => row.done).length;
  section.querySelector("progress").value = done / rows.length;
  by("progress").textContent = progress();
  by("csv").disabled = done < rows.length;
  by("pages").hidden = rows.length <= A_PAGE;
  by("before").disabled = start === 0;
  by("after").disabled = start + A_PAGE >= rows.length;
  by("range").textContent = `${count(start + 1)} to ${count(start + visible.length)} of ${count(rows.length)}`;
}

function progress() {
  const answered = rows.filter((row) => row.done && !row.error).length;
  const refused = rows.filter((row) => row.error).length;
  return `${count(answered)} of ${count(rows.length)} answered${refused ? `, ${count(refused)} refused` : ""}`;
}

/** A row's line, made when it is first seen, and filled once its answer is there. */
function line(row) {
  row.line ??= make(
    "tr",
    {},
    make("td", { class: "thumbnail" }, ...thumbnail(row)),
    make("th", { scope: "row" }, make("button", { type: "button", click: () => choose(row) }, make("bdi", {}, shown(row.name)))),
    make("td"),
    make("td", { class: "number" }),
    make("td", { class: "number" }),
  );
  if (row.done && !row.filled) {
    row.filled = true;
    const [, , label, confidence, version] = row.line.children;
    label.append(make("bdi", { class: row.error ? "problem" : "name" }, row.error ?? row.label));
    if (row.unlike) label.append(" ", make("span", { class: "unlike" }, "none of these?"));
    confidence.textContent = row.error ? "" : percent(row.confidence);
    version.textContent = row.version ?? "";
  }
  return row.line;
}

function thumbnail(row) {
  if (!SHOWABLE.test(row.file.type)) return [];
  row.address = URL.createObjectURL(row.file);
  return [make("img", { src: row.address, alt: "", loading: "lazy", decoding: "async", width: 32, height: 32 })];
}

function save() {
  const address = URL.createObjectURL(new Blob([csv(order)], { type: "text/csv" }));
  make("a", { href: address, download: "answers.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
