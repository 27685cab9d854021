// The page: what is served, the examples, and where pictures go that come in.

import { fail, hideAnswer, showAnswer } from "./answer.js";
import { by, make } from "./dom.js";
import { showHead } from "./head.js";
import { listen } from "./intake.js";
import { about, example, examples } from "./service.js";
import { showMany } from "./table.js";

listen((pictures) => {
  if (pictures.length === 1) {
    showAnswer(pictures[0]);
  } else {
    hideAnswer();
    showMany(pictures, showAnswer);
  }
});

for (const button of document.querySelectorAll("[data-copies]")) {
  button.hidden = !navigator.clipboard; // which browsers offer over https and on this machine alone
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(by(button.dataset.copies).textContent);
    button.textContent = "Copied";
  });
}

try {
  const info = await about();
  showHead(info);
  by("formats").textContent = info.formats.join(", ");
  await offer(info.classes);
} catch (error) {
  fail(error.message);
}

/** Offers those examples whose classes are this model's. */
async function offer(classes) {
  const fitting = (await examples()).filter((name) => classes.includes(name.replace(/\.\w+$/, "")));
  by("examples").hidden = fitting.length === 0;
  by("examples").querySelector("ul").append(
    ...fitting.map((name) => {
      const picture = make("img", { src: example(name), alt: name.replace(/\.\w+$/, ""), width: 64, height: 64 });
      return make("li", {}, make("button", { type: "button", click: () => show(name) }, picture));
    }),
  );
}

async function show(name) {
  try {
    const file = await (await fetch(example(name))).blob();
    await showAnswer({ name, file });
  } catch {
    fail("The example did not come; look whether the service runs.");
  }
}
