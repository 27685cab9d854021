"""Why an encoded image cannot be taken."""

from typing import Literal

ErrorCode = Literal["not_an_image", "broken_image", "unsupported_format", "too_many_pixels", "too_many_bytes"]


class ImageError(ValueError):
    """An image that cannot be taken; the message is a sentence for whoever sent it.

    Attributes:
        code: What is wrong, stable for programs.
    """

    def __init__(self, code: ErrorCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code: ErrorCode = code
