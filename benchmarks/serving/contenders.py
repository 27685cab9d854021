"""Who takes part: our routes, what a user would pick instead, and the limit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from benchmarks.serving import payloads
from benchmarks.serving.artifact import Precision
from benchmarks.serving.ensemble import ENCODED_NAME, ENSEMBLE_NAME
from benchmarks.serving.payloads import Body
from benchmarks.serving.servers import Ports
from model.contract import INPUT_NAME, MODEL_NAME

Encode = Callable[[Sequence[bytes]], Body]
Group = Literal["ours", "theirs", "limit"]


@dataclass(frozen=True)
class Route:
    """How to ask over HTTP.

    Attributes:
        path: Of the POST.
        encode: Encoded images (for the limit: pixels) → body.
        marker: Text before the probabilities in the answer; empty: FP32 at its end.
        pixels: Whether `encode` takes decoded pixels.
    """

    path: str
    encode: Encode
    marker: str
    pixels: bool = False


@dataclass(frozen=True)
class Call:
    """How to ask over gRPC: images → serialized ModelInferRequest."""

    encode: Callable[[Sequence[bytes]], bytes]


@dataclass(frozen=True)
class Contender:
    """One row of the table.

    Attributes:
        key: Short name, for the command line and the results' files.
        title: What the row says.
        group: Whose it is.
        address: host:port.
        one: How one image is sent.
        many: How several are sent in one request; None where there is no way.
        services: The servers that work for it, by name.
        precision: Of the graph it serves.
        most_connections: With more it would still be at work when others are measured.
        least_seconds: In less it might not answer once.
    """

    key: str
    title: str
    group: Group
    address: str
    one: Route | Call
    many: Route | Call | None
    services: tuple[str, ...]
    precision: Precision = "float"
    most_connections: int = 1000
    least_seconds: int = 1


def line_up(ports: Ports, only: Sequence[str]) -> list[Contender]:
    """Returns who takes part, in the order of the tables.

    Args:
        ports: Where the servers listen.
        only: Keys of those wanted; empty for all.

    Raises:
        ValueError: a key in `only` names nobody.
    """
    v2 = Route(f"/v2/models/{MODEL_NAME}/infer", payloads.v2_encoded, '"data":[')
    v2_ensemble = Route(
        f"/v2/models/{ENSEMBLE_NAME}/infer",
        partial(payloads.v2_encoded, name=ENCODED_NAME, trailing=(1,)),
        '"data":[',
    )
    grpc = Call(partial(payloads.grpc_encoded, model=MODEL_NAME, name=INPUT_NAME))
    grpc_ensemble = Call(
        partial(payloads.grpc_encoded, model=ENSEMBLE_NAME, name=ENCODED_NAME, trailing=(1,))
    )
    v1 = Route(f"/v1/models/{MODEL_NAME}:predict", payloads.v1_base64, '"predictions":[')
    tensors = Route(f"/v2/models/{MODEL_NAME}/infer", payloads.v2_pixels, "", pixels=True)
    probabilities = '"probabilities":['

    here = "127.0.0.1:{}".format
    ours = ("transformer", "triton")
    ours_int8 = ("transformer-int8", "triton-int8")
    everyone = [
        Contender("raw", "**ours**, POST /predict, image as body", "ours", here(ports.transformer),
                  Route("/predict", payloads.raw, probabilities), None, ours),
        Contender("multipart", "**ours**, POST /predict, multipart", "ours", here(ports.transformer),
                  Route("/predict", payloads.multipart, probabilities), None, ours),
        Contender("v2", "**ours**, v2 REST, binary images", "ours", here(ports.transformer), v2, v2, ours),
        Contender("grpc", "**ours**, v2 gRPC", "ours", here(ports.transformer_grpc), grpc, grpc, ours),
        Contender("int8", "**ours**, int8, the default (image as body; many: v2 REST)", "ours",
                  here(ports.transformer_int8), Route("/predict", payloads.raw, probabilities), v2, ours_int8,
                  "int8"),
        Contender("ensemble", "Triton ensemble, v2 REST", "theirs", here(ports.other_triton),
                  v2_ensemble, v2_ensemble, ("other-triton",)),
        Contender("ensemble-grpc", "Triton ensemble, v2 gRPC", "theirs", here(ports.other_triton_grpc),
                  grpc_ensemble, grpc_ensemble, ("other-triton",)),
        Contender("ensemble-int8", "Triton ensemble with our int8 twin, v2 REST", "theirs",
                  here(ports.other_triton_int8), v2_ensemble, v2_ensemble, ("other-triton-int8",), "int8"),
        Contender("kserve", "stock KServe transformer, gRPC to Triton", "theirs", here(ports.kserve),
                  v1, v1, ("kserve", "other-triton")),
        Contender("fastapi-onnx", "FastAPI + ONNX Runtime, tuned", "theirs", here(ports.fastapi_onnx),
                  Route("/predict", payloads.raw, probabilities),
                  Route("/predict_many", payloads.json_base64, probabilities), ("fastapi-onnx",)),
        Contender("fastapi-plain", "FastAPI + ONNX Runtime, as tutorials write it", "theirs",
                  here(ports.fastapi_plain), Route("/predict", payloads.multipart, probabilities), None,
                  ("fastapi-plain",)),
        Contender("original", "FastAPI + keras.Model.predict (the original)", "theirs", here(ports.original),
                  Route("/predict", payloads.multipart, probabilities), None, ("original",),
                  most_connections=32, least_seconds=8),
        Contender("tensors", "the limit: our Triton, ready tensors", "limit", here(ports.triton),
                  tensors, tensors, ("triton",)),
        Contender("tensors-int8", "the limit with the int8 twin", "limit", here(ports.triton_int8),
                  tensors, tensors, ("triton-int8",), "int8"),
    ]  # fmt: skip
    if unknown := set(only) - {one.key for one in everyone}:
        raise ValueError(f"nobody is called {', '.join(sorted(unknown))}; there are: "
                         f"{', '.join(one.key for one in everyone)}")  # fmt: skip
    return [one for one in everyone if not only or one.key in only]
