"""What the transformer counts, for Prometheus.

Counting is a dictionary's addition on the event loop's thread; what Prometheus reads is made when it asks.
(The client library's own counters and histograms take a lock each and cost a tenth of a request here.)
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from image_transformer.observe.histogram import Histogram
from image_transformer.observe.outcomes import Outcomes
from model.images.decode import DECODER_VERSION

_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_IMAGES: Final = (1, 2, 4, 8, 16, 32, 64)


class Metrics(Collector):
    """All of the transformer's numbers; register it with Prometheus' registry once.

    Attributes:
        outcomes: What the images were answered with.
    """

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.errors: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()
        self.outcomes = Outcomes()
        self.seconds: dict[str, Histogram] = {}
        self.decode_seconds = Histogram(_SECONDS)
        self.triton_seconds = Histogram(_SECONDS)
        self.call_images = Histogram(_IMAGES)
        self.under_way = 0
        self.retries = 0
        self.masks = 0
        self.queued_images: Callable[[], int] = lambda: 0
        self.waiting_explanations: Callable[[], int] = lambda: 0
        self.triton_up: Callable[[], bool] = lambda: False
        self.model_decoders: Callable[[], Sequence[str | None]] = list

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Counts a request of a route that was answered."""
        self.answers[route, status] += 1
        histogram = self.seconds.get(route)
        if histogram is None:
            histogram = self.seconds[route] = Histogram(_SECONDS)
        histogram.add(seconds)

    def collect(self) -> Iterator[Metric]:
        """Gives Prometheus the numbers as they are now."""
        name = "cnn_image_"
        requests = CounterMetricFamily(
            name + "requests", "Requests answered, by route and status", labels=("route", "status")
        )
        for (route, status), count in self.answers.items():
            requests.add_metric((route, str(status)), count)
        yield requests
        errors = CounterMetricFamily(name + "errors", "Failed requests by code", labels=("code",))
        for code, count in self.errors.items():
            errors.add_metric((code,), count)
        yield errors
        versions = CounterMetricFamily(
            name + "images", "Images answered, by the version that did", labels=("version",)
        )
        for version, count in self.versions.items():
            versions.add_metric((version,), count)
        yield versions
        yield from self.outcomes.collect()
        durations = HistogramMetricFamily(
            name + "request_seconds", "From a request's first byte to its answer", labels=("route",)
        )
        for route, histogram in self.seconds.items():
            durations.add_metric((route,), *histogram.sample())
        yield durations
        for title, text, histogram in (
            ("decode_seconds", "Decoding one image", self.decode_seconds),
            ("triton_seconds", "One call to Triton", self.triton_seconds),
            ("batch_images", "Images in one call to Triton", self.call_images),
        ):
            yield histogram.family(name + title, text)
        yield CounterMetricFamily(name + "triton_retries", "Calls sent again elsewhere", self.retries)
        yield GaugeMetricFamily(name + "requests_under_way", "Requests being answered", self.under_way)
        yield GaugeMetricFamily(name + "queued_images", "Images that wait for Triton", self.queued_images())
        yield CounterMetricFamily(
            name + "explanation_masks", "Images classified again, for explanations", self.masks
        )
        yield GaugeMetricFamily(
            name + "waiting_explanations",
            "Explanations under way and waiting for their turn",
            self.waiting_explanations(),
        )
        yield GaugeMetricFamily(name + "triton_up", "1 while Triton has the model ready", self.triton_up())
        decoder = GaugeMetricFamily(name + "decoder", "This process' decoder version", labels=("version",))
        decoder.add_metric((DECODER_VERSION,), 1)
        yield decoder
        yield GaugeMetricFamily(
            name + "decoder_mismatch",
            "1 when the served version was judged with another decoder than this process'",
            any(judged not in {None, DECODER_VERSION} for judged in self.model_decoders()),
        )
