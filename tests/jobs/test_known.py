"""The live service asked for known images: what is its answer, and what is something else's."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from jobs import known
from jobs.errors import FaultError, RefusedError
from jobs.known import KnownImages, verify_service
from model.data.sources import example_images

PROBABILITIES = [0.2, 0.2, 0.2, 0.2, 0.2]
RIGHT = (200, json.dumps({"probabilities": PROBABILITIES}))
NO_ROUTE = (404, "")
OWN_ERROR = (404, json.dumps({"error": "There is no such route.", "code": "unknown_route"}))


class Service(ThreadingHTTPServer):
    """Gives the answers it was told, the last one again and again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.answers: list[tuple[int, str]] = []
        self.asked = 0


class Answering(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, body = self.server.answers[min(self.server.asked, len(self.server.answers) - 1)]
        self.server.asked += 1
        self.send_response(status)
        self.send_header("X-Model-Version", "7")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def verify(service: Service, *answers: tuple[int, str]) -> None:
    service.answers = list(answers)
    file = example_images()["dog"]
    due = np.array([PROBABILITIES], np.float32)
    verify_service(
        f"http://127.0.0.1:{service.server_port}",
        KnownImages(7, (file,), np.zeros((1, 32, 32, 3), np.uint8), due),
    )


def test_an_answer_from_before_the_way_was_there_is_asked_for_again(service: Service) -> None:
    verify(service, NO_ROUTE, RIGHT)
    assert service.asked == 2


def test_a_way_that_never_comes_is_a_fault_that_names_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "RETRY_SECONDS", 0.01)
    with pytest.raises(FaultError, match="answered by something else, with 404"):
        verify(service, NO_ROUTE)


def test_an_error_of_the_service_itself_is_a_refusal_at_once(service: Service) -> None:
    with pytest.raises(RefusedError, match="no such route"):
        verify(service, OWN_ERROR, RIGHT)
    assert service.asked == 1
