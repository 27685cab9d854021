// The few things that every module does to the document. What comes from outside becomes text, never markup.

/** Returns the element of an id. */
export const by = (id) => document.getElementById(id);

/**
 * Makes an element.
 * @param {string} tag
 * @param {Object} properties Attributes; a function listens to the event of that name, false leaves out.
 * @param {...(Node|string)} children
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** Writes a probability, 0 to 1, so that neither a small one nor nearly all reads as none or all. */
export function percent(share) {
  const hundredths = share * 100;
  if (share > 0 && hundredths < 0.1) return "< 0.1 %";
  if (share < 1 && hundredths > 99.9) return "> 99.9 %";
  return `${hundredths.toFixed(1)} %`;
}

/** Writes a whole number with its thousands apart, in the page's language. */
export const count = (number) => number.toLocaleString("en");

/** Tells who listens to the page what who looks at it sees. */
export function announce(text) {
  by("announced").textContent = text;
}

/** Returns a file's name as it can be shown: signs that turn or break what is around them become squares. */
export const shown = (name) => name.replace(/[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/gu, "\u25a1");
