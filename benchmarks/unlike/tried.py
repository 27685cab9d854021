"""`python -m benchmarks.unlike.tried RUN…`: what other scores tell of trained networks, as they are.

RUN and the sets are those of `benchmarks.unlike`. Every score is learned from training and validation
pictures alone, but for the probe, which is shown four of the five classes that are not served and asked for
the fifth: more than that no score of the hidden layer can be told beforehand. Writes `unlike-tried.md`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped] # it has no types

from benchmarks.unlike import sets
from benchmarks.unlike.__main__ import auroc, command
from benchmarks.unlike.scores import Layers, above_mean, scores_of, standard
from model.contract import CIFAR10_LABELS
from model.data.dataset import Dataset
from model.data.images import Images
from model.data.sources import load_dataset
from model.training.runs import load_run

if TYPE_CHECKING:
    import keras

RESULTS: Final = Path(__file__).parents[1] / "results" / "unlike-tried.md"
_OTHERS: Final = "the five other classes"
_TRAINING_PICTURES: Final = 6000
_AT_ONCE: Final = 500


def layers_of(network: "keras.Model", temperature: float) -> Callable[[Images], Layers]:
    """Returns a function from pictures to what the network makes of them."""
    import keras
    import tensorflow as tf

    pooled = keras.layers.GlobalAveragePooling2D(dtype="float32")(network.get_layer("pool1").output)
    inside = keras.Model(network.input, [pooled, network.get_layer("hidden").output, network.output])
    graph = tf.function(
        lambda batch: inside(batch, training=False),
        input_signature=[tf.TensorSpec((None, sets.SIZE, sets.SIZE, 3), tf.uint8)],
    )

    def layers(pictures: Images) -> Layers:
        parts = [graph(pictures[row : row + _AT_ONCE]) for row in range(0, len(pictures), _AT_ONCE)]
        means, before, logits = (
            np.concatenate([np.asarray(part[i], np.float32) for part in parts]) for i in range(3)
        )
        return Layers(means, before, logits / temperature)

    return layers


def probed(usual: Layers, test: Layers, others: Layers, classes: NDArray[np.integer]) -> float:
    """AUROC of energy and a probe that is shown four of the unserved classes, asked for the fifth."""
    inputs = [np.concatenate([of.before, of.hidden], axis=1) for of in (usual, test, others)]
    energy = standard(above_mean, usual)
    found = []
    for asked in np.unique(classes):
        shown = inputs[2][classes != asked][::2]
        scale = inputs[0].std(axis=0) + 1e-6
        probe = LogisticRegression(C=3e-4, max_iter=100)
        probe.fit(
            np.concatenate([inputs[0], shown]) / scale,
            np.arange(len(inputs[0]) + len(shown)) >= len(inputs[0]),
        )
        said: list[Any] = [probe.decision_function(one / scale) for one in inputs]
        middle, deviation = said[0].mean(), said[0].std()
        usual_total, total = (
            energy(of) + 0.5 * (values - middle) / deviation
            for of, values in ((test, said[1]), (others, said[2]))
        )
        found.append(auroc(usual_total, total[classes == asked]))
    return float(np.mean(found))


def _tried(
    folder: Path, dataset: Dataset, others: Mapping[str, Images], classes: NDArray[np.integer]
) -> dict[str, list[float]]:
    run = load_run(folder)
    network = run.network()
    layers = layers_of(network, run.temperature)
    rows = np.sort(np.random.default_rng(run.seed).permutation(len(dataset.train))[:_TRAINING_PICTURES])
    train, usual, test = (
        layers(one) for one in (dataset.train.images[rows], dataset.validation.images, dataset.test.images)
    )
    seen = {name: layers(pictures) for name, pictures in others.items()}
    weights, bias = (one / run.temperature for one in network.get_layer("logits").get_weights())
    found = {}
    for name, score in scores_of(train, dataset.train.labels[rows], usual, weights, bias):
        known = score(test)
        found[name] = [auroc(known, score(of)) for of in seen.values()]
    found["energy, and a probe that is shown four of the five"] = [
        probed(usual, test, seen[_OTHERS], classes)
    ]
    return found


def main() -> None:
    """Print and write the table."""
    arguments = command(__doc__ or "", RESULTS).parse_args()
    dataset = load_dataset(str(arguments.data.parent), allow_sample=False)
    others = {_OTHERS: sets.cifar10(arguments.data, "test_batch", served=False)}
    others |= sets.reported(arguments.signs, arguments.textures)
    labels = np.asarray(
        np.load(arguments.data / "test_batch", allow_pickle=True, encoding="bytes")[b"labels"]
    )
    classes = labels[~np.isin(labels, list(CIFAR10_LABELS))]
    found = [_tried(folder, dataset, others, classes) for folder in arguments.runs]
    rows = []
    for name in found[0]:
        means = np.mean([one[name] for one in found], axis=0)
        rows.append(
            f"| {name} | "
            + " | ".join(f"{mean:.3f}" for mean in means)
            + " |" * (len(others) - len(means) + 1)
        )
        print(rows[-1])
    head = ["score", *others]
    arguments.results.write_text(
        "\n".join(
            [
                "# Other scores of the trained networks",
                "",
                f"AUROC against {len(dataset.test):,} test pictures, means of {len(found)} trainings. "
                "Written by `python -m benchmarks.unlike.tried`.",
                "",
                f"| {' | '.join(head)} |",
                "|---|" + "--:|" * len(others),
                *rows,
                "",
            ]
        )
    )


if __name__ == "__main__":
    main()
