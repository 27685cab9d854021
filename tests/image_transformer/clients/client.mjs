// fetch with its defaults.
// Arguments: an address, then `length:FILE` or `stream:FILE`; prints each answer's body.

import { createReadStream, readFileSync } from "node:fs";
import { Readable } from "node:stream";

const [address, ...sent] = process.argv.slice(2);
for (const argument of sent) {
  const [kind, file] = argument.split(":");
  const body = kind === "length" ? readFileSync(file) : Readable.toWeb(createReadStream(file));
  const answer = await fetch(address, {
    method: "POST",
    headers: { "content-type": "image/*" },
    body,
    duplex: "half", // what fetch demands of whoever sends a stream
  });
  console.log(await answer.text());
}
