"""Logs as JSON lines on stdout: one object a line, for people with jq and for collectors."""

import json
import logging
import sys
import warnings
from datetime import UTC, datetime
from typing import Any, Final

import orjson

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "color_message",
    "taskName",
}


class JsonFormatter(logging.Formatter):
    """A record and its extra fields as one line; what a client sent cannot break out of its string."""

    def format(self, record: logging.LogRecord) -> str:
        """Writes the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((name, value) for name, value in vars(record).items() if name not in _STANDARD)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str).decode()
        except orjson.JSONEncodeError:  # half a character in a text: orjson refuses it, json escapes it
            return json.dumps(line, default=str)


def configure() -> None:
    """Sends all logs to stdout as JSON lines; libraries only from warnings on."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("image_transformer").setLevel(logging.INFO)
    # Pillow warns of what is odd in an image; Python keeps each wording, and clients could fill the memory.
    warnings.simplefilter("ignore")
    # uvicorn makes an access line's arguments for each request unless the logger leads nowhere.
    logging.getLogger("uvicorn.access").propagate = False
