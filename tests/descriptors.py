"""What protobuf modules describe, a line for every field, value and method.

`python tests/descriptors.py MODULE …` prints it: those of Triton's and of KServe's client exclude each other
in one process.
"""

import importlib
import json
import sys
from collections.abc import Iterator
from typing import Any

Line = tuple[str, list[Any]]


def lines(file: Any) -> dict[str, list[Any]]:
    """By full name: a field's number, type and oneof; a value's number; a method's messages."""
    return dict(_lines(file))


def _lines(file: Any) -> Iterator[Line]:
    for message in file.message_types_by_name.values():
        yield from _message(message)
    for kind in file.enum_types_by_name.values():
        yield from _values(kind)
    for service in file.services_by_name.values():
        for method in service.methods:
            messages = [method.input_type.full_name, method.output_type.full_name]
            yield method.full_name, [*messages, method.client_streaming, method.server_streaming]


def _message(message: Any) -> Iterator[Line]:
    for field in message.fields:
        kind = field.message_type or field.enum_type
        choice = field.containing_oneof.name if field.containing_oneof else ""
        described = [field.number, field.type, field.is_repeated, kind.full_name if kind else "", choice]
        yield field.full_name, described
    for nested in message.nested_types:
        yield from _message(nested)
    for kind in message.enum_types:
        yield from _values(kind)


def _values(kind: Any) -> Iterator[Line]:
    for value in kind.values:
        yield f"{kind.full_name}.{value.name}", [value.number]


if __name__ == "__main__":
    found: dict[str, list[Any]] = {}
    for name in sys.argv[1:]:
        found |= lines(importlib.import_module(name).DESCRIPTOR)
    print(json.dumps(found))
