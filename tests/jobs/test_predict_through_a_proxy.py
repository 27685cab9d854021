"""`cnn-image predict` as typed, with a proxy in the environment: towards this machine and others."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from forward_proxy import GATEWAY_PAGE, ForwardProxy, http_answer

from model.data.sources import example_images

COMMAND = Path(sys.executable).with_name("cnn-image")
REMOTE = "http://remote.example"


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    proxy = ForwardProxy()
    yield proxy
    proxy.close()


def predict(url: str, **variables: str) -> tuple[int, str]:
    """Its exit code, and all that it says of an error."""
    image = example_images()["dog"]
    surrounding = {name: os.environ[name] for name in ("HOME", "PATH")}
    done = subprocess.run(
        [COMMAND, "predict", image, "--url", url],
        env=surrounding | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.returncode, " ".join(done.stderr.split())


@pytest.mark.parametrize("status", ["502 Bad Gateway", "200 OK"])
def test_a_proxys_page_is_not_taken_for_an_answer(proxy: ForwardProxy, status: str) -> None:
    proxy.answer = http_answer(status, GATEWAY_PAGE)
    code, said = predict(REMOTE, http_proxy=f"http://me:secret@127.0.0.1:{proxy.port}")
    assert code == 69
    assert said == (
        f"The proxy {proxy.http} (http_proxy) answered in place of {REMOTE} ({status}, text/html): "
        "see whether it may and can go there, or add that host to NO_PROXY."
    )
    assert proxy.asked == [f"POST {REMOTE}/predict"]


def test_a_page_without_a_proxy_here_is_somebody_elses(proxy: ForwardProxy) -> None:
    """A gateway in front of the service; this stand-in listens as one."""
    proxy.answer = http_answer("502 Bad Gateway", GATEWAY_PAGE)
    code, said = predict(proxy.http)
    assert code == 69
    assert said.startswith(
        f"Something else than the service answered at {proxy.http} (502 Bad Gateway, text/html)"
    )


def test_certificates_that_are_gone_are_a_mistake_where_they_are_needed(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.pem")
    code, said = predict("https://remote.example", SSL_CERT_FILE=gone)
    assert code == 2
    assert said.startswith(f"SSL_CERT_FILE names {gone}, which cannot be used (No such file or directory)")
    code, said = predict("http://127.0.0.1:9", SSL_CERT_FILE=gone, http_proxy="http://127.0.0.1:8")
    assert code == 69
    assert said.startswith("Nothing answers at http://127.0.0.1:9 ")


@pytest.mark.parametrize("variable", ["http_proxy", "ALL_PROXY"])
def test_a_proxy_that_is_away_is_a_mistake(variable: str) -> None:
    named = "http://127.0.0.1:9" if variable == "http_proxy" else "socks5://127.0.0.1:9"
    code, said = predict(REMOTE, **{variable: named})
    assert code == 2
    assert said.startswith(f"The proxy {named} ({variable}) on the way to remote.example cannot be used (")
