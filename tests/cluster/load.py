"""Steady load on a service from outside the cluster, over new and kept connections, and what came of it."""

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx


@dataclass
class Answers:
    """What clients were told.

    Attributes:
        statuses: HTTP's, or the name of a broken connection's error.
        versions: From X-Model-Version, of answers with status 200.
        classes: The class named, by version.
        numbers: How many probabilities an answer had, by version.
        failures: Everything but a 200: when it came, in seconds from the start, and what it said.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    classes: dict[str, Counter[str]] = field(default_factory=dict)
    numbers: dict[str, set[int]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


class Load:
    """Requests at a steady pace from a thread of its own, while the block runs.

    Args:
        url: Of the service, on this machine.
        image: To send.
        rate: Requests a second.
    """

    def __init__(self, url: str, image: bytes, rate: float = 20) -> None:
        self._url, self._image, self._pause = url, image, 1 / rate
        self._stop = threading.Event()
        self._began = 0.0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.answers = Answers()

    def __enter__(self) -> "Load":
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=60)

    async def _run(self) -> None:
        kept = httpx.AsyncClient(base_url=self._url, timeout=15)
        tasks: set[asyncio.Task[None]] = set()
        number, due = 0, self._began
        async with kept:
            while not self._stop.is_set():
                # Every other request makes a connection of its own, so that new pods get some.
                task = asyncio.create_task(self._send(kept if number % 2 else None))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                number += 1
                due += self._pause
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            await asyncio.gather(*tasks)

    async def _send(self, client: httpx.AsyncClient | None) -> None:
        files = {"file": ("image.jpg", self._image)}
        try:
            if client is None:
                async with httpx.AsyncClient(base_url=self._url, timeout=15) as own:
                    answer = await own.post("/predict", files=files)
            else:
                answer = await client.post("/predict", files=files)
        except httpx.TransportError as error:
            self.answers.statuses[type(error).__name__] += 1
            self._failed(f"{type(error).__name__}: {error}")
            return
        self.answers.statuses[str(answer.status_code)] += 1
        if answer.status_code != httpx.codes.OK:
            self._failed(f"{answer.status_code}: {answer.text}")
            return
        version, body = answer.headers["X-Model-Version"], answer.json()
        self.answers.versions[version] += 1
        self.answers.classes.setdefault(version, Counter())[body["class_name"]] += 1
        self.answers.numbers.setdefault(version, set()).add(len(body["probabilities"]))

    def _failed(self, what: str) -> None:
        self.answers.failures.append(f"{time.monotonic() - self._began:.1f} s: {what}")
