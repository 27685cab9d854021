// What stands above everything: the model, and the version that answered last.

import { by, count } from "./dom.js";

/** Says what is served, by a version's /info. */
export function showHead({ model, version, classes, input_shape: [height, width] }) {
  document.title = model;
  by("model").textContent = model;
  by("serving").textContent = `version ${version} · ${count(classes.length)} classes · ${width} × ${height} pixels`;
}
