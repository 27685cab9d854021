"""mosec, run by a Python of its own: see `model` for the environment; its flags are mosec's.

Settings: `workers`, `batch`, `wait_ms`; with `decoders` there is a stage of so many processes before, which
decodes, as its performance tuning has it for work of two kinds.
"""

from typing import Any

import numpy as np
from mosec import Server, Worker  # type: ignore[import-not-found] # of a Python of its own

from benchmarks.competitors.decoders import size
from benchmarks.competitors.model import Model, settings


class Bytes(Worker):  # type: ignore[misc] # mosec is not there for mypy
    """Bodies as they are."""

    resp_mime_type = "application/json"

    def deserialize(self, data: bytes) -> bytes:
        return bytes(data)

    def serialize(self, data: bytes) -> bytes:
        return data


class Whole(Bytes):
    """Decodes and answers."""

    def __init__(self) -> None:
        super().__init__()
        self._model = Model()

    def forward(self, data: Any) -> Any:
        return self._model.answers(data) if self.max_batch_size > 1 else self._model.answer(data)


class Decode(Bytes):
    """The stage that decodes."""

    def __init__(self) -> None:
        super().__init__()
        self._model = Model()

    def serialize_ipc(self, data: Any) -> bytes:
        return bytes(data.data)

    def forward(self, data: bytes) -> Any:
        return self._model.pixels(data)


class Answer(Bytes):
    """The stage that answers, many requests at once."""

    def __init__(self) -> None:
        super().__init__()
        self._model = Model()

    def deserialize_ipc(self, data: bytes) -> Any:
        return np.frombuffer(data, np.uint8).reshape(-1, size(), size(), 3)

    def forward(self, data: Any) -> Any:
        return self._model.probabilities(data)


if __name__ == "__main__":
    wanted = settings()
    batches = {"max_batch_size": wanted.get("batch", 1), "max_wait_time": wanted.get("wait_ms", 1)}
    server = Server()
    if "decoders" in wanted:
        server.append_worker(Decode, num=wanted["decoders"], route="/predict")
        server.append_worker(Answer, num=wanted.get("workers", 1), route="/predict", **batches)
    else:
        server.append_worker(Whole, num=wanted.get("workers", 1), route="/predict", **batches)
    server.run()
