// Which parts of the picture carry its class: a map over it, when somebody wants to know.

import { announce, by } from "./dom.js";
import { explained } from "./service.js";

const SURE = 3; // standard errors, as the service draws its map

let given = {};
let address = "";
let stop = new AbortController();

by("why").addEventListener("click", () => {
  if (by("why").getAttribute("aria-pressed") === "true") hideReason();
  else showReason(given);
});

/** Offers a reason for an answer, in place of the one before; where the service gives none there is no button. */
export function offerReason(file, answer, info) {
  given = { file, answer, info };
  by("preview").firstElementChild.append(by("map"));
  by("why").hidden = !info.limits.explain_masks;
  hideReason();
}

/** Takes the reason away; one that is still to come is dropped, and the service works on it no longer. */
export function hideReason() {
  stop.abort();
  by("map").hidden = true;
  by("reason").textContent = "";
  by("why").setAttribute("aria-pressed", "false");
}

async function showReason(asked) {
  by("why").setAttribute("aria-pressed", "true");
  stop = new AbortController();
  const { signal } = stop;
  say("The picture is tried with parts of it hidden …");
  let text;
  try {
    asked.explanation ??= await explained(asked.file, signal);
    if (signal.aborted) return;
    if (asked.explanation.version === asked.answer.version) {
      text = told(asked.explanation);
      await lay(asked, text);
      by("map").hidden = signal.aborted;
    } else {
      text = `Version ${asked.explanation.version} is served now; show it the picture again.`;
    }
  } catch (error) {
    text = error.message;
  }
  if (!signal.aborted) say(text);
}

function say(text) {
  by("reason").textContent = text;
  announce(text);
}

/** Says in words what the map shows. */
function told({ class_name: label, map, masks, standard_error: error }) {
  const most = Math.max(...map.flat());
  const tries = `(${masks} tries; ± ${points(error)})`;
  if (most <= SURE * error) return `No part of the picture stands out as what “${label}” rests on ${tries}.`;
  const row = map.findIndex((values) => values.includes(most));
  const where = place(row / map.length, map[row].indexOf(most) / map.length);
  return `“${label}” rests on what is coloured, most of all ${where}: seen and not hidden, that makes it ${points(most)} more probable ${tries}.`;
}

const points = (share) => `${(100 * share).toFixed(1)} points`;

function place(down, across) {
  const row = ["upper", "", "lower"][Math.floor(3 * down)];
  const column = ["left", "", "right"][Math.floor(3 * across)];
  if (row && column) return `in the ${row} ${column}`;
  if (row) return row === "upper" ? "at the top" : "at the bottom";
  return column ? `on the ${column}` : "in the middle";
}

/** Lays the map over the picture, or, where the browser cannot show that, over what the network sees of it. */
async function lay({ explanation, info }, text) {
  const map = by("map");
  const picture = by("preview").querySelector("img");
  const bytes = Uint8Array.from(atob(explanation.overlay.split(",")[1]), (sign) => sign.codePointAt(0));
  URL.revokeObjectURL(address);
  address = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
  map.src = address;
  map.alt = text;
  if (picture.hidden) {
    by("seen").querySelector("figure")?.append(map);
    Object.assign(map.style, { left: 0, top: 0, width: "100%", height: "auto" });
  } else {
    await picture.decode();
    Object.assign(map.style, box(picture.naturalWidth, picture.naturalHeight, info.fit));
  }
}

/** Where in a picture, turned as it is shown, the network's square lies. */
function box(width, height, fit) {
  const side = { crop: Math.min(width, height), pad: Math.max(width, height) }[fit];
  const [across, down] = side ? [side / width, side / height] : [1, 1];
  const percent = (share) => `${100 * share}%`;
  return { left: percent((1 - across) / 2), top: percent((1 - down) / 2), width: percent(across), height: percent(down) };
}
