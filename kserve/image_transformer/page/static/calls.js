// The call that this page makes, for a terminal and for a program.

// Anything else could mean something to the shell, or to the terminal that it is pasted into.
const PLAIN = /^[\p{L}\p{N}_][\p{L}\p{N}_ .-]*$/u;

/** Returns the call for curl and for Python's own library, of a picture of this name. */
export function calls(name) {
  const file = PLAIN.test(name) ? name : `picture${/\.[a-z]{3,4}$/i.exec(name)?.[0] ?? ""}`;
  const address = String(new URL("predict", document.baseURI));
  return {
    curl: `curl -H 'Content-Type: application/octet-stream' \\\n  --data-binary '@${file}' \\\n  '${address}'`,
    python: [
      "import json, pathlib, urllib.request",
      "",
      `picture = pathlib.Path(${JSON.stringify(file)}).read_bytes()`,
      "request = urllib.request.Request(",
      `    ${JSON.stringify(address)},`,
      "    picture,",
      '    {"Content-Type": "application/octet-stream"},',
      ")",
      "with urllib.request.urlopen(request) as response:",
      '    print("version", response.headers["X-Model-Version"])',
      "    answer = json.load(response)",
      'print(answer["class_name"], answer["confidence"])',
    ].join("\n"),
  };
}
