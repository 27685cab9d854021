"""What Triton's statistics extension counts, for one version of one model.

Counting is a few additions on the event loop's thread; whole nanoseconds are made when somebody asks.
"""

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Duration:
    """How often something was done, and for how long in all.

    Attributes:
        count: How often.
        seconds: All of it together.
    """

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Counts one more."""
        self.count += 1
        self.seconds += seconds


@dataclass(slots=True)
class Batch:
    """The calls to Triton that had the same number of images.

    Attributes:
        infer: From sending the call to Triton's answer.
        output: Reading that answer.
    """

    infer: Duration = field(default_factory=Duration)
    output: Duration = field(default_factory=Duration)


class Statistics:
    """One version's numbers.

    A request of many images is cut into pieces that wait and are inferred side by side. Each counts by its
    share of the request: what a request waited is the mean over its images, and never more than it took.

    Attributes:
        success: Requests that were answered, from their arrival to their answer.
        fail: Requests that were not, once a version had been chosen for them.
        queue_seconds: What the answered ones' images waited.
        decode_seconds: What decoding them took.
        infer_seconds: What Triton took.
        output_seconds: What reading Triton's answers took.
        images: That Triton has answered.
        executions: Calls that Triton has answered.
        last: When it last did, in seconds since 1970; 0 before the first.
        batches: The calls by how many images they had.
    """

    __slots__ = (
        *("batches", "decode_seconds", "executions", "fail", "images", "infer_seconds", "last"),
        *("output_seconds", "queue_seconds", "success"),
    )

    def __init__(self) -> None:
        self.success = Duration()
        self.fail = Duration()
        self.queue_seconds = 0.0
        self.decode_seconds = 0.0
        self.infer_seconds = 0.0
        self.output_seconds = 0.0
        self.images = 0
        self.executions = 0
        self.last = 0.0
        self.batches: dict[int, Batch] = {}

    def executed(self, images: int, requests: float, infer: float, output: float) -> None:
        """Counts a call that Triton has answered.

        Args:
            images: That it had.
            requests: How many requests those are; of one in pieces the part.
            infer: Seconds from sending it to the answer.
            output: Seconds that reading the answer took.
        """
        self.executions += 1
        self.images += images
        self.last = time.time()
        self.infer_seconds += infer * requests
        self.output_seconds += output * requests
        batch = self.batches.get(images)
        if batch is None:
            batch = self.batches[images] = Batch()
        batch.infer.add(infer)
        batch.output.add(output)
