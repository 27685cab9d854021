"""A loop over a running service: `python over_predict.py URL SOURCE OUT CONNECTIONS`, SOURCE a folder.

What somebody writes who has the service and no offline scoring: files are read and posted to `/predict`
over so many kept connections, and the answers put into a table.
"""

import asyncio
import sys
from pathlib import Path

import aiohttp
import pyarrow as pa
import pyarrow.parquet as pq


async def ask(url: str, paths: list[Path], connections: int) -> dict[str, list[float]]:
    left, found = iter(paths), dict[str, list[float]]()

    async def one(session: aiohttp.ClientSession) -> None:
        for path in left:
            body = path.read_bytes()
            async with session.post(
                f"{url}/predict", data=body, headers={"Content-Type": "image/jpeg"}
            ) as answer:
                answer.raise_for_status()
                found[str(path)] = (await answer.json())["probabilities"]

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:
        await asyncio.gather(*(one(session) for _ in range(connections)))
    return found


def main() -> None:
    url, source, out, connections = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    paths = sorted(path for path in Path(source).rglob("*.jpg"))
    found = asyncio.run(ask(url, paths, connections))
    out.mkdir(parents=True)
    table = pa.table(
        {"image": list(found), "probabilities": pa.array(found.values(), pa.list_(pa.float32()))}
    )
    pq.write_table(table, out / "answers.parquet")


if __name__ == "__main__":
    main()
