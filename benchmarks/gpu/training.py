"""Images a second of the training step on the GPU, by batch size and precision."""

import importlib.util
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from model.data.sources import load_dataset

BATCHES: Final = (128, 512, 2048)
SECONDS: Final = 5.0


def measure(source: str | None) -> list[str]:
    """Return a line a measurement, or one that says why there is none."""
    try:
        import tensorflow as tf
    except ImportError:
        return ["training: not measured, this environment has no TensorFlow (extra `gpu`)"]
    from model.training.device import prepare_device
    from model.training.train import QUICK
    from model.training.trainer import Trainer

    device = prepare_device()
    if device.kind != "GPU":
        return ["training: not measured, TensorFlow finds no GPU"]
    dataset = load_dataset(source, allow_sample=True)
    lines = []
    for policy in dict.fromkeys(("float32", device.policy)):
        for batch in (size for size in BATCHES if size <= len(dataset.train)):
            trainer = Trainer(dataset, replace(QUICK, batch_size=batch), 0, policy)
            order = tf.range(batch)
            offsets, mirrored = tf.zeros((batch, 2), tf.int32), tf.zeros(batch, tf.int32)
            trainer.step(order, offsets, mirrored)[0].numpy()
            steps, began = 0, time.perf_counter()
            while (elapsed := time.perf_counter() - began) < SECONDS:
                loss, _ = trainer.step(order, offsets, mirrored)
                steps += 1
                if steps % 50 == 0:
                    loss.numpy()
            lines.append(
                f"training: {device.name}, {policy}, batch {batch}: {steps * batch / elapsed:,.0f} images/s"
            )
    return lines


def export(folder: Path) -> None:
    """Write an untrained network's graph for the other half, where TensorFlow is."""
    if importlib.util.find_spec("tensorflow") is None:
        return
    from export.graph.export import export_graphs
    from model.network.cnn import build_network

    export_graphs(build_network(0), 1.0, folder)
