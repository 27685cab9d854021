"""Which gradient shows best what a class rests on? `python -m benchmarks.explain.gradients RUN`

RUN is a training run's folder. Deletion and insertion as in `benchmarks.explain.faithful`, on test pictures
of the repository's sample and by the run's own Keras network: maps by gradients, beside the centre first and
the service's own maps. Writes `explain-gradients.md` beside the other results.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.explain.faithful import METHODS, Map, Picture, cells, deletion_and_insertion, pictures
from model.network.cnn import classifier
from model.report.reasons.gradients import class_maps, smoothed
from model.training.runs import load_run

_NOISY: Final = 32
_RESULTS: Final = Path("benchmarks/results")
_BESIDE: Final = ("random blobs", "the centre first", "the service's, 500 masks")


def integrated(network: Any, picture: Picture, class_id: int) -> Map:
    """As in the report."""
    values: Map = class_maps(network, picture[None], np.array([class_id]))[0]
    return values


def smooth(network: Any, picture: Picture, class_id: int) -> Map:
    """SmoothGrad (Smilkov et al. 2017, arXiv:1706.03825): the mean of 32 gradients under noise, its size."""
    import keras
    import tensorflow as tf

    scaling = network.get_layer("scaling")
    whole = scaling(picture[None]).numpy().astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.15 * np.ptp(whole), (_NOISY, *whole.shape[1:]))
    inputs = tf.constant(whole + noise.astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        logits = keras.Model(scaling.output, network.output)(inputs, training=False)[:, class_id]
    values: Map = np.abs(tape.gradient(logits, inputs).numpy().mean(axis=0)).sum(axis=-1)
    return smoothed(values)


def cam(network: Any, picture: Picture, class_id: int, *, each: bool) -> Map:
    """Of the last maps that have places, each times its gradient, summed over the channels.

    Grad-CAM (Selvaraju et al., ICCV 2017, arXiv:1610.02391) takes a channel's mean gradient; HiResCAM
    (Draelos, Carin 2020, arXiv:2011.08891) each place's own. They agree where the maps are averaged next,
    as in EfficientNet-Lite, and differ where a hidden layer sees each place, as in the network `cnn`.
    """
    import keras
    import tensorflow as tf

    place = next(layer for layer in reversed(network.layers) if _has_places(layer))
    maps = keras.Model(network.input, place.output)(picture[None], training=False)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        logits = keras.Model(place.output, network.output)(maps, training=False)[:, class_id]
    gradients = tf.cast(tape.gradient(logits, maps), tf.float32).numpy()
    weights = gradients if each else gradients.mean(axis=(1, 2), keepdims=True)
    summed = Image.fromarray((tf.cast(maps, tf.float32).numpy() * weights).sum(axis=-1)[0])
    return np.asarray(summed.resize(picture.shape[:2], Image.Resampling.BILINEAR))


def _has_places(layer: Any) -> bool:
    import keras

    return isinstance(layer, keras.layers.ReLU) and len(layer.output.shape) == 4


CANDIDATES: Final[dict[str, Callable[[Any, Picture, int], Map]]] = {
    "integrated gradients": integrated,
    "SmoothGrad, 32 pictures": smooth,
    "Grad-CAM, last maps": partial(cam, each=False),
    "HiResCAM, last maps": partial(cam, each=True),
}


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--pictures", type=int, default=20)
    asked = parser.parse_args()
    run = load_run(asked.run)
    network = run.network()
    classify = classifier(network, run.temperature, run.contract)
    images = pictures("sample", asked.pictures)
    classes = classify(images).argmax(axis=1)
    lines = [
        "# Maps by gradients\n",
        f"Measured by `python -m benchmarks.explain.gradients RUN --pictures {asked.pictures}`: test "
        "pictures of the sample, each for the class that it is given; means, of the last but one column with "
        "its 95 % interval.\n",
        "| map | deletion, low is good | insertion, high is good | insertion − deletion | ms a picture |",
        "|---|--:|--:|--:|--:|",
    ]
    for title in (*_BESIDE, *CANDIDATES):
        random = np.random.default_rng(0)
        areas, spent = [], 0.0
        for picture, class_id in zip(images, classes.tolist(), strict=True):
            ask = partial(_of_class, classify, class_id)
            started = time.process_time()
            if title in CANDIDATES:
                values = CANDIDATES[title](network, picture, class_id)
            else:
                values = METHODS[title](ask, picture, random)
            spent += time.process_time() - started
            areas.append(deletion_and_insertion(ask, picture, values))
        lines.append(f"| {title} | {cells(areas)} | {1000 * spent / len(images):.0f} |")
        print(lines[-1], flush=True)
    (_RESULTS / "explain-gradients.md").write_text("\n".join(lines) + "\n")


def _of_class(
    classify: Callable[[Picture], NDArray[np.float32]], class_id: int, images: Picture
) -> NDArray[np.float32]:
    return classify(images)[:, class_id]


if __name__ == "__main__":
    main()
