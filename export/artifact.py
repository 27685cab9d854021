"""Lays out a version: a folder that is a whole Triton repository."""

import shutil
from pathlib import Path

from export.graph.export import Graphs
from export.graph.triton_config import (
    DEFAULT_VARIANT,
    LABELS_NAME,
    VARIANTS,
    classifier_config,
    filters_config,
)
from export.store.manifest import Lineage, Manifest, file_digest, lineage_parameters
from model.contract import FILTERS_MODEL_NAME, MODEL_NAME


def assemble(graphs: Graphs, lineage: Lineage, version: int, folder: Path) -> Manifest:
    """Lay out a version's files and describe them.

    The manifest itself is not written: it is what makes a version exist, and the store's to write.

    Args:
        graphs: The exported models.
        lineage: Where they come from.
        version: The number the store has given.
        folder: Empty; filled with `cnn-image/` and `cnn-image-filters/`.

    Returns:
        The manifest that lists every file now in `folder`.
    """
    parameters = lineage_parameters(lineage, version)
    for name, graph, configure in (
        (MODEL_NAME, graphs.classifier, classifier_config),
        (FILTERS_MODEL_NAME, graphs.filters, filters_config),
    ):
        model = folder / name
        (model / "configs").mkdir(parents=True)
        (model / str(version)).mkdir()
        shutil.copyfile(graph, model / str(version) / "model.onnx")
        (model / "config.pbtxt").write_text(configure(DEFAULT_VARIANT, parameters).to_pbtxt())
        for variant in VARIANTS:
            (model / "configs" / f"{variant.name}.pbtxt").write_text(
                configure(variant, parameters).to_pbtxt()
            )
    (folder / MODEL_NAME / LABELS_NAME).write_text("\n".join(lineage.classes) + "\n")
    files = {
        path.relative_to(folder).as_posix(): file_digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return Manifest(**dict(lineage), version=version, files=files)
