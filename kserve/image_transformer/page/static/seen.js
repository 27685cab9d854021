// The picture as the network sees it, and what each filter makes of it: the service's numbers, drawn.

import { make } from "./dom.js";

const COLOURS = 3;
const SMALL = 96; // up to here a pixel is shown as the square that it is

/**
 * Draws what the filters model answered.
 * @param {{size: number, depth: number, values: Float32Array}} channels See `filtered` in service.js.
 * @param {string[]} filters Names, in the order of the channels behind the picture's own.
 * @returns {HTMLElement[]} A figure for the picture, and one for each filter.
 */
export function drawn({ size, depth, values }, filters) {
  const names = ["the picture", ...filters.map((name) => name.replaceAll("_", " "))];
  return names.map((name, number) => {
    const pixels = new ImageData(size, size);
    for (let at = 0; at < size * size; at++) {
      for (let colour = 0; colour < COLOURS; colour++) {
        // Clamped by the array itself, as the training's report does it: what is beyond 0 and 1 is black or full.
        pixels.data[4 * at + colour] = 255 * values[at * depth + number * COLOURS + colour];
      }
      pixels.data[4 * at + 3] = 255;
    }
    const says = number
      ? `What the filter “${name}” makes of it`
      : `The picture as the network sees it, ${size} × ${size} pixels`;
    const canvas = make("canvas", { class: size > SMALL && "smooth", width: size, height: size, role: "img", "aria-label": says });
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return make("figure", {}, canvas, make("figcaption", {}, name));
  });
}
