"""The competitor that needs no program: a Triton repository with an ensemble of decoder and classifier."""

import shutil
import sysconfig
from pathlib import Path

import benchmarks.competitors
from export.graph.triton_config import CPU_2, MAX_BATCH_SIZE, classifier_config
from model.contract import CLASSES, IMAGE_SHAPE, INPUT_NAME, MODEL_NAME, OUTPUT_NAME

ENSEMBLE_NAME = "ensemble"
ENCODED_NAME = "encoded"

_DECODER = """
name: "decoder"
backend: "python"
max_batch_size: {batch}
input {{ name: "{encoded}" data_type: TYPE_STRING dims: [1] }}
output {{ name: "{image}" data_type: TYPE_UINT8 dims: {shape} }}
instance_group {{ kind: KIND_CPU count: {instances} }}
parameters {{ key: "python_path" value {{ string_value: "{path}" }} }}
"""
_ENSEMBLE = """
name: "{name}"
platform: "ensemble"
max_batch_size: {batch}
input {{ name: "{encoded}" data_type: TYPE_STRING dims: [1] }}
output {{ name: "{probs}" data_type: TYPE_FP32 dims: [{classes}] }}
ensemble_scheduling {{
  step {{
    model_name: "decoder" model_version: -1
    input_map {{ key: "{encoded}" value: "{encoded}" }}
    output_map {{ key: "{image}" value: "pixels" }}
  }}
  step {{
    model_name: "{model}" model_version: -1
    input_map {{ key: "{image}" value: "pixels" }}
    output_map {{ key: "{probs}" value: "{probs}" }}
  }}
}}
"""


def write_repository(folder: Path, graph: Path, *, decoders: int = 2, dynamic_batching: bool = False) -> None:
    """Lays out decoder, classifier and ensemble; what was there is replaced.

    The settings are those that were best for our own classifier on two cores; others were not tried here.

    Args:
        folder: The repository.
        graph: The classifier's ONNX file.
        decoders: Instances of the decoder, each a process.
        dynamic_batching: Whether decoder and classifier join waiting requests.
    """
    shutil.rmtree(folder, ignore_errors=True)
    packages = folder.with_name(f"{folder.name}-python_path")
    _link_decoder(packages)
    names = {
        "batch": MAX_BATCH_SIZE,
        "encoded": ENCODED_NAME,
        "image": INPUT_NAME,
        "probs": OUTPUT_NAME,
        "shape": list(IMAGE_SHAPE),
        "classes": len(CLASSES),
        "model": MODEL_NAME,
        "name": ENSEMBLE_NAME,
        "instances": decoders,
        "path": packages.absolute(),
    }
    batching = "dynamic_batching { }\n" if dynamic_batching else ""
    configs = {
        "decoder": _DECODER.format(**names) + batching,
        MODEL_NAME: classifier_config(CPU_2, {}).to_pbtxt() + batching,
        ENSEMBLE_NAME: _ENSEMBLE.format(**names),
    }
    for model, config in configs.items():
        (folder / model / "1").mkdir(parents=True)
        (folder / model / "config.pbtxt").write_text(config)
    (folder / MODEL_NAME / "labels.txt").write_text("\n".join(CLASSES) + "\n")
    shutil.copyfile(graph, folder / MODEL_NAME / "1" / "model.onnx")
    competitors = Path(benchmarks.competitors.__path__[0])
    shutil.copyfile(competitors / "ensemble" / "model.py", folder / "decoder" / "1" / "model.py")


def _link_decoder(folder: Path) -> None:
    """Links what `model.images.decode` imports, for Triton's Python, which has numpy alone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    packages = Path(sysconfig.get_path("platlib"))
    for pattern in ("PIL", "pillow.libs", "simplejpeg*"):
        for found in packages.glob(pattern):
            (folder / found.name).symlink_to(found)
    (folder / "model").symlink_to(Path("model").absolute())
