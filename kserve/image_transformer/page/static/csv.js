// A table as CSV (RFC 4180), for spreadsheets and programs alike.

// A spreadsheet takes a cell that begins so for a formula, and a name is whatever somebody called a file.
const FORMULA = /^[=+\-@\t\r]/;

function cell(value) {
  const text = typeof value === "string" && FORMULA.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * Writes rows as CSV, with a byte order mark, without which Excel reads another encoding.
 * @param {{name: string, label?: string, confidence?: number, version?: string, error?: string,
 *   unlike?: ?boolean, probabilities?: number[], classes?: string[]}[]} rows
 * @returns {string} The columns file, class, confidence, version, error, `unlike training` where a version tells it,
 *   and one for each class.
 */
export function csv(rows) {
  const classes = [...new Set(rows.flatMap((row) => row.classes ?? []))];
  const tells = rows.some((row) => typeof row.unlike === "boolean");
  const mark = tells ? ["unlike training"] : [];
  const lines = [["file", "class", "confidence", "version", "error", ...mark, ...classes]];
  for (const row of rows) {
    const shares = new Map(row.classes?.map((name, id) => [name, row.probabilities[id]]));
    const { name, label = "", confidence = "", version = "", error = "" } = row;
    const unlike = tells ? [row.unlike ?? ""] : [];
    lines.push([name, label, confidence, version, error, ...unlike, ...classes.map((one) => shares.get(one) ?? "")]);
  }
  return `\ufeff${lines.map((line) => line.map(cell).join(",")).join("\r\n")}\r\n`;
}
