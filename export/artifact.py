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
from export.store.lineage import Lineage, lineage_parameters
from export.store.manifest import Manifest, file_digest
from export.store.unlike import Unlike


def assemble(
    graphs: Graphs, lineage: Lineage, version: int, folder: Path, unlike: Unlike | None = None
) -> Manifest:
    """Lay out a version's files and describe them.

    The manifest itself is not written: it is what makes a version exist, and the store's to write.

    Args:
        graphs: The exported models.
        lineage: Where they come from.
        version: The number the store has given.
        folder: Empty; filled with the contract's two models, `cnn-image/` and `cnn-image-filters/`.
        unlike: What the classifier's score means; None where it has no such output.

    Returns:
        The manifest that lists every file now in `folder`.
    """
    parameters, contract = lineage_parameters(lineage, version), lineage.contract
    scores = {} if unlike is None else {"unlike": unlike.model_dump_json()}
    for name, graph, configure, said in (
        (contract.model, graphs.classifier, classifier_config, parameters | scores),
        (contract.filters_model, graphs.filters, filters_config, parameters),
    ):
        model = folder / name
        (model / "configs").mkdir(parents=True)
        (model / str(version)).mkdir()
        shutil.copyfile(graph, model / str(version) / "model.onnx")
        for path, variant in (
            ("config.pbtxt", DEFAULT_VARIANT),
            *((f"configs/{variant.name}.pbtxt", variant) for variant in VARIANTS),
        ):
            text = configure(variant, said, contract).to_pbtxt()
            (model / path).write_text(text, encoding="utf-8")
    labels = "".join(f"{name}\n" for name in contract.classes)
    (folder / contract.model / LABELS_NAME).write_text(labels, encoding="utf-8")
    files = {
        path.relative_to(folder).as_posix(): file_digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return Manifest(**dict(lineage), version=version, files=files)
