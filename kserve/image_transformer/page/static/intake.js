// How pictures come in: dropped (folders too), pasted, chosen, photographed.

import { by } from "./dom.js";

/**
 * Listens for pictures.
 * @param {function({name: string, file: File}[]): void} take Gets all that came at once.
 */
export function listen(take) {
  for (const input of [by("choose"), by("camera")]) {
    input.addEventListener("change", () => {
      const files = [...input.files];
      input.value = ""; // so that the same picture can be chosen once more
      give(files.map(named), take);
    });
  }
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) {
      event.preventDefault();
      give([...event.clipboardData.files].map(named), take);
    }
  });
  const zone = by("zone");
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    zone.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) zone.classList.remove("over");
  });
  document.addEventListener("drop", async (event) => {
    zone.classList.remove("over");
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault(); // or the browser would leave this page for the picture
    give(await dropped(event.dataTransfer), take);
  });
}

const named = (file) => ({ name: file.name, file });

function give(pictures, take) {
  if (pictures.length) take(pictures);
}

/** All files of a drop, those in folders too. The items are gone once the event is over: they are asked first. */
async function dropped(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const entries = items.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const pictures = [];
  for (const entry of entries.filter(Boolean)) {
    if (entry instanceof File) pictures.push(named(entry));
    else await walk(entry, pictures);
  }
  return pictures;
}

async function walk(entry, pictures) {
  if (entry.isFile) {
    const file = await new Promise((found, failed) => entry.file(found, failed)).catch(() => null);
    if (file) pictures.push({ name: entry.fullPath.replace(/^\//, ""), file });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // A hundred at a time, in Chromium; an empty list is the end.
    const some = await new Promise((found, failed) => reader.readEntries(found, failed)).catch(() => []);
    if (!some.length) return;
    for (const inner of some) {
      if (!inner.name.startsWith(".")) await walk(inner, pictures); // what file managers keep there is no picture
    }
  }
}
