"""What serves calls of one path."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Method:
    """A method.

    Attributes:
        behaviour: Is given the message, or where there are many what reads them, and the call.
        read: Parses a message; it returns a ServiceError in place of one that it does not take.
        write: Serializes an answer.
        takes_many: Whether a call has many messages, which `Call.read` gives.
        gives_many: Whether it has many answers, which `Call.write` takes.
    """

    behaviour: Callable[[Any, Any], Awaitable[Any]]
    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes]
    takes_many: bool = False
    gives_many: bool = False

    @property
    def lasts(self) -> bool:
        """Whether its calls may live for days."""
        return self.takes_many or self.gives_many
