"""What Triton's statistics extension counts, for one version of one model.

Counting is a few additions on the event loop's thread; whole nanoseconds are made when somebody asks.
"""


class Calls:
    """The calls to Triton that had the same number of images.

    Attributes:
        count: How many.
        infer_seconds: From sending each to Triton's answer, in all.
        output_seconds: Reading those answers, in all.
    """

    __slots__ = ("count", "infer_seconds", "output_seconds")

    def __init__(self) -> None:
        self.count = 0
        self.infer_seconds = self.output_seconds = 0.0


class Spent:
    """What one request has taken so far: it counts once the request is answered, and not where it fails.

    Attributes:
        decode_seconds: What decoding its images took.
    """

    __slots__ = ("decode_seconds",)

    def __init__(self, decode_seconds: float = 0.0) -> None:
        self.decode_seconds = decode_seconds


class Statistics:
    """One version's numbers; their sums are in seconds.

    A request of many images is cut into pieces that wait and are inferred side by side. Each counts by its
    share of the request: what a request waited is the mean over its images, and never more than it took.

    Attributes:
        successes: Requests that were answered.
        success_seconds: From their arrival to their answer.
        failures: Requests that were not, once a version had been chosen for them.
        failure_seconds: From their arrival to their end.
        queue_seconds: What images waited.
        decode_seconds: What decoding the images of answered requests took.
        infer_seconds: What Triton took.
        output_seconds: What reading Triton's answers took.
        images: That Triton has answered.
        last: When it last did, by `time.perf_counter`; 0 before the first.
        calls: Those that Triton has answered, by how many images they had.
    """

    __slots__ = (
        *("calls", "decode_seconds", "failure_seconds", "failures", "images", "infer_seconds", "last"),
        *("output_seconds", "queue_seconds", "success_seconds", "successes"),
    )

    def __init__(self) -> None:
        self.successes = self.failures = self.images = 0
        self.success_seconds = self.failure_seconds = 0.0
        self.queue_seconds = self.decode_seconds = 0.0
        self.infer_seconds = self.output_seconds = 0.0
        self.last = 0.0
        self.calls: dict[int, Calls] = {}

    def executed(self, images: int, requests: float, started: float, arrived: float, read: float) -> None:
        """Counts a call that Triton has answered.

        Args:
            images: That it had.
            requests: How many requests those are; of one in pieces the part.
            started: When it was sent, by `time.perf_counter`.
            arrived: When its answer came.
            read: When that was read.
        """
        infer, output = arrived - started, read - arrived
        self.images += images
        self.last = arrived
        self.infer_seconds += infer * requests
        self.output_seconds += output * requests
        calls = self.calls.get(images)
        if calls is None:
            calls = self.calls[images] = Calls()
        calls.count += 1
        calls.infer_seconds += infer
        calls.output_seconds += output
