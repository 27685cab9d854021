"""How many bytes all requests under way hold together, by whichever protocol they came."""

from collections.abc import Iterator
from contextlib import contextmanager

from image_transformer.errors import ServiceError


class Held:
    """A count with a limit; whoever takes gives back."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.count = 0

    def take(self, length: int) -> None:
        """Counts bytes that have come in.

        Raises:
            ServiceError: there is no room for them; they are not counted.
        """
        if self.count + length > self._most:
            raise ServiceError("overloaded", "Too many large requests at once; try again in a second.")
        self.count += length

    @contextmanager
    def during(self, length: int) -> Iterator[None]:
        """Counts bytes while a block runs; see `take`."""
        self.take(length)
        try:
            yield
        finally:
            self.give_back(length)

    def give_back(self, length: int) -> None:
        """Uncounts bytes that are needed no more."""
        self.count -= length
