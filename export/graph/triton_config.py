"""Triton's model configuration as a frozen dataclass, and the text of config.pbtxt made from it.

How a model runs is not what it is: signature and lineage are alike in every variant, and instances, threads
and batching differ. Triton picks `configs/<variant>.pbtxt` by `--model-config-name`, else config.pbtxt.

The transformer in front makes the batches, so the CPU variants run one instance a core with one thread each
and no `dynamic_batching`: it would glue queued batches together while another instance idles.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from model.contract import (
    DEFAULT_CONTRACT,
    FILTER_BANK,
    FILTERED_NAME,
    INPUT_NAME,
    OUTPUT_NAME,
    SCORE_NAME,
    Contract,
)

MAX_BATCH_SIZE: Final = 64
"""Images in one call to Triton; more in one request are sent by the transformer in several calls."""

LABELS_NAME: Final = "labels.txt"
_WARM_UP_BATCHES: Final = (1, 8)


@dataclass(frozen=True)
class Tensor:
    """An input or output, without its batch dimension."""

    name: str
    data_type: Literal["TYPE_UINT8", "TYPE_FP32"]
    dims: tuple[int, ...]
    label_filename: str = ""


@dataclass(frozen=True)
class Variant:
    """How a model runs on a kind of machine.

    Attributes:
        name: What `--model-config-name` takes.
        kind: Where the instances live.
        instances: So many run at the same time.
        dynamic_batching: Whether Triton joins waiting requests.
    """

    name: str
    kind: Literal["KIND_CPU", "KIND_GPU"]
    instances: int
    dynamic_batching: bool = False


CPU_1: Final = Variant("cpu-1", "KIND_CPU", 1)
CPU_2: Final = Variant("cpu-2", "KIND_CPU", 2)
CPU_4: Final = Variant("cpu-4", "KIND_CPU", 4)
# On a GPU one call costs about the same for 8 images as for 64, and two instances hide the copies.
GPU: Final = Variant("gpu", "KIND_GPU", 2, dynamic_batching=True)

VARIANTS: Final = (CPU_1, CPU_2, CPU_4, GPU)
DEFAULT_VARIANT: Final = CPU_2
"""What config.pbtxt itself says, for a Triton that is started without `--model-config-name`."""


@dataclass(frozen=True)
class ModelConfig:
    """One model's configuration.

    Attributes:
        name: The model's name, which is also its folder's.
        variant: How it runs.
        inputs: Without the batch dimension.
        outputs: Without the batch dimension.
        parameters: Free text for whoever reads the model's configuration; here the lineage.
        max_batch_size: Images in one request.
    """

    name: str
    variant: Variant
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)
    max_batch_size: int = MAX_BATCH_SIZE

    def to_pbtxt(self) -> str:
        """The configuration in protobuf's text format."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield f"name: {_quote(self.name)}"
        yield 'backend: "onnxruntime"'
        yield f"max_batch_size: {self.max_batch_size}"
        for kind, tensors in (("input", self.inputs), ("output", self.outputs)):
            for tensor in tensors:
                label = f" label_filename: {_quote(tensor.label_filename)}" if tensor.label_filename else ""
                yield (
                    f"{kind} {{ name: {_quote(tensor.name)} data_type: {tensor.data_type}"
                    f" dims: {list(tensor.dims)}{label} }}"
                )
        yield f"instance_group {{ kind: {self.variant.kind} count: {self.variant.instances} }}"
        if self.variant.dynamic_batching:
            yield "dynamic_batching { }"
        for batch in _WARM_UP_BATCHES:
            yield f"model_warmup {{ name: {_quote(f'batch-{batch}')} batch_size: {batch}"
            for tensor in self.inputs:
                yield (
                    f"  inputs {{ key: {_quote(tensor.name)} value {{ data_type: {tensor.data_type}"
                    f" dims: {list(tensor.dims)} random_data: true }} }}"
                )
            yield "}"
        # A waiting thread of ONNX Runtime spins; with one instance a core, one thread each is faster.
        threads = {"intra_op_thread_count": "1", "inter_op_thread_count": "1"}
        for key, value in {**self.parameters, **threads}.items():
            yield f"parameters {{ key: {_quote(key)} value {{ string_value: {_quote(value)} }} }}"


def classifier_config(
    variant: Variant, parameters: Mapping[str, str], contract: Contract = DEFAULT_CONTRACT
) -> ModelConfig:
    """The classifier's configuration: pixels in, the probabilities of the contract's classes out.

    Where the parameters say under `unlike` what its score means, the score is a second output.
    """
    score = (Tensor(SCORE_NAME, "TYPE_FP32", (1,)),) if "unlike" in parameters else ()
    return ModelConfig(
        name=contract.model,
        variant=variant,
        inputs=(Tensor(INPUT_NAME, "TYPE_UINT8", contract.image_shape),),
        outputs=(Tensor(OUTPUT_NAME, "TYPE_FP32", (len(contract.classes),), LABELS_NAME), *score),
        parameters=parameters,
    )


def filters_config(
    variant: Variant, parameters: Mapping[str, str], contract: Contract = DEFAULT_CONTRACT
) -> ModelConfig:
    """The filter model's configuration; it is for looking at, so one instance does."""
    height, width, colours = contract.image_shape
    return ModelConfig(
        name=contract.filters_model,
        variant=Variant(variant.name, variant.kind, 1, variant.dynamic_batching),
        inputs=(Tensor(INPUT_NAME, "TYPE_UINT8", contract.image_shape),),
        outputs=(Tensor(FILTERED_NAME, "TYPE_FP32", (height, width, colours * len(FILTER_BANK))),),
        parameters=parameters,
    )


def _quote(text: str) -> str:
    # protobuf's text format reads JSON's escapes but for \u in old parsers, so non-ASCII goes as UTF-8 and
    # what JSON would write as \u00XX (control characters) is dropped: no parameter has a use for it.
    return json.dumps("".join(c for c in text if c.isprintable()), ensure_ascii=False)
