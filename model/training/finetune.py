"""Fine-tuning, first half: classes for a network that knows photographs already, from its features alone.

The features of all images are computed once; a softmax over them is a convex problem, solved in seconds. The
network that comes out is a classifier by itself, and what the second half begins with: epochs as of any other
training (`model.training.trainer`), at a small rate, by `tuning_logits`. From classes of chance, the first
steps of that would undo what the features know (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained
Features").
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from model.contract import Contract
from model.data.dataset import Dataset, Split
from model.data.images import Images
from model.network.cnn import images_at_a_time
from model.network.efficientnet_lite import blocks
from model.report.evaluate import evaluate, softmax
from model.training.classes import class_counts, class_weights
from model.training.recipe import FineTuneRecipe

if TYPE_CHECKING:
    import keras

PENALTIES: Final = (1e-1, 1e-2, 1e-3, 1e-4)
"""Of the squared weights in the loss: all are tried, and the validation images choose."""

_ITERATIONS: Final = 200

# For 1,500 images of 128 pixels; `model.training.fitting` fits it to others.
FINE_TUNE: Final = FineTuneRecipe(
    name="fine-tune",
    epochs=20,
    batch_size=32,
    learning_rate=6e-4,
    warmup=0.1,
    weight_decay=5e-3,
    label_smoothing=0.05,
    averaging=0.995,
    shift=16,
    flip=True,
    dropout_block=0.0,
    dropout_hidden=0.0,
    # So large a network knows some hundred pictures by heart in a few epochs.
    turn=30.0,
    zoom=0.2,
    brightness=0.2,
)


@dataclass(frozen=True)
class Head:
    """A last layer.

    Attributes:
        weights: float32 `[features, C]`.
        bias: float32 `[C]`; both are 0 for classes that are not learned.
        penalty: The one of `PENALTIES` that it was fitted with.
        val_accuracy: Of the validation images whose class is learned.
        val_loss: Their mean negative log-likelihood.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    penalty: float
    val_accuracy: float
    val_loss: float


def fit_classes(
    network: "keras.Model", dataset: Dataset, contract: Contract, *, flip: bool, balance: float
) -> Head:
    """Give a network its classes.

    Args:
        network: Of `model.network.efficientnet_lite.build_network`, with weights; its last layer is set.
        dataset: Its test split is not touched.
        contract: As the network was built for.
        flip: Learn from the mirrored images too.
        balance: See `model.training.recipe.PictureRecipe`.
    """
    learned = np.isin(dataset.validation.labels, contract.learned)
    validation = Split(
        dataset.validation.images[learned], dataset.validation.labels[learned], dataset.classes
    )
    images, labels = dataset.train.images, dataset.train.labels
    features = pooled_features(network, images)
    if flip:
        features = np.concatenate([features, pooled_features(network, images, mirrored=True)])
        labels = np.tile(labels, 2)
    weights = class_weights(class_counts(dataset), balance)[labels] if balance else np.ones(len(labels))
    head = fit_head(
        features, labels, weights, pooled_features(network, validation.images), validation.labels, contract
    )
    network.get_layer("logits").set_weights([head.weights, head.bias])
    return head


def pooled_features(network: "keras.Model", images: Images, *, mirrored: bool = False) -> NDArray[np.float32]:
    """Return what a network makes of images before it tells classes: float32 `[N, features]`.

    Args:
        network: Has a layer `features`.
        images: uint8 `[N, S, S, 3]`.
        mirrored: Of the images with left and right changed.
    """
    import keras
    import tensorflow as tf

    size = images.shape[1]
    model = keras.Model(network.input, network.get_layer("features").output)
    function = tf.function(lambda batch: model(batch[:, :, ::-1] if mirrored else batch, training=False))
    # A function of its own each time is meant here: TensorFlow, which counts calls, would warn of it.
    graph = function.get_concrete_function(tf.TensorSpec((None, *images.shape[1:]), tf.uint8))
    at_a_time = images_at_a_time(size)
    parts = [
        graph(tf.constant(images[row : row + at_a_time])).numpy() for row in range(0, len(images), at_a_time)
    ]
    return np.concatenate(parts).astype(np.float32)


def fit_head(
    features: NDArray[np.float32],
    labels: NDArray[np.integer],
    weights: NDArray[np.floating],
    val_features: NDArray[np.float32],
    val_labels: NDArray[np.integer],
    contract: Contract,
) -> Head:
    """Fit a softmax to features, by L-BFGS; each of `PENALTIES` goes on from the one before.

    Args:
        features: float32 `[N, features]`.
        labels: Class ids, all of them learned.
        weights: What each image counts, 1 in the mean.
        val_features: Those that choose the penalty, none without a label that is learned.
        val_labels: Their class ids.
        contract: Of all classes.
    """
    from scipy.optimize import minimize

    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    inputs = (features - mean) / spread
    val_inputs = (val_features - mean) / spread
    learned = np.asarray(contract.learned)
    columns = np.searchsorted(learned, labels)
    targets = np.zeros((len(labels), len(learned)), np.float32)
    targets[np.arange(len(labels)), columns] = 1
    counts = (weights / len(labels)).astype(np.float32)[:, None]
    shape = (features.shape[1] + 1, len(learned))

    def loss(flat: NDArray[np.float64], penalty: float) -> tuple[float, NDArray[np.float64]]:
        layer = flat.reshape(shape).astype(np.float32)
        logits = inputs @ layer[:-1] + layer[-1]
        logits -= logits.max(axis=1, keepdims=True)
        log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        slope = (np.exp(log_probs) - targets) * counts
        gradient = np.concatenate([inputs.T @ slope + penalty * layer[:-1], slope.sum(axis=0)[None]])
        value = -(counts * targets * log_probs).sum() + penalty / 2 * (layer[:-1] ** 2).sum()
        return float(value), gradient.astype(np.float64).ravel()

    heads, flat = [], np.zeros(shape).ravel()
    for penalty in PENALTIES:
        found = minimize(
            loss, flat, (penalty,), jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS}
        )
        flat = found.x
        layer = flat.reshape(shape)
        probs = np.zeros((len(val_labels), len(contract.classes)), np.float32)
        probs[:, learned] = softmax(val_inputs @ layer[:-1] + layer[-1])
        judged = evaluate(probs, val_labels, contract.classes)
        kernel = np.zeros((features.shape[1], len(contract.classes)), np.float32)
        bias = np.zeros(len(contract.classes), np.float32)
        kernel[:, learned] = layer[:-1] / spread[:, None]
        bias[learned] = layer[-1] - mean @ kernel[:, learned]
        heads.append(Head(kernel, bias, penalty, judged.accuracy, judged.nll))
    return min(heads, key=lambda head: head.val_loss)


def tuning_logits(network: "keras.Model", images: Any) -> Any:
    """Compute logits for a step that moves all weights but the normalizations' statistics.

    Those stay ImageNet's: a batch of a few images says too little of them. No feature is dropped.

    With statistics that stay, a normalization multiplies and adds constants; its factors are multiplied into
    the kernels here, as an exporter does, and nothing sweeps over the activations for them, there and back.
    Values and gradients are `network(images, training=False)`'s.

    Args:
        network: Of `model.network.efficientnet_lite.build_network`.
        images: uint8 or float32 tensor `[N, S, S, 3]` of pixels 0 to 255.

    Returns:
        float32 tensor `[N, C]`.
    """
    import tensorflow as tf

    layer = network.get_layer
    # What varies images gives parts of a level; the network takes whole ones, as from a picture.
    x = layer("scaling")(tf.round(tf.cast(images, tf.float32)))
    x = tf.nn.relu6(_folded(network, "stem", x))
    for number, block in enumerate(blocks(network.name), start=1):
        inside = x
        if block.widening > 1:
            inside = tf.nn.relu6(_folded(network, f"block{number}_widen", inside))
        inside = tf.nn.relu6(_folded(network, f"block{number}_depthwise", inside))
        inside = _folded(network, f"block{number}_narrow", inside)
        x = x + inside if block.adds_input else inside
    x = tf.nn.relu6(_folded(network, "head", x))
    return layer("logits")(layer("features")(x))


def _folded(network: "keras.Model", name: str, x: Any) -> Any:
    """A convolution and the normalization after it as one: `[N, S, S, channels]` in its layer's precision."""
    import tensorflow as tf

    convolution, norm = network.get_layer(name), network.get_layer(f"{name}_norm")
    dtype, stride = convolution.compute_dtype, convolution.strides[0]
    factors = norm.gamma.value * tf.math.rsqrt(norm.moving_variance.value + norm.epsilon)
    bias = tf.cast(norm.beta.value - norm.moving_mean.value * factors, dtype)
    kernel = convolution.kernel.value
    if not name.endswith("_depthwise"):
        y = tf.nn.conv2d(tf.cast(x, dtype), tf.cast(kernel * factors, dtype), stride, "SAME")
        return tf.nn.bias_add(y, bias)
    # TensorFlow's gradients of a depthwise convolution take three times as long in bfloat16 on a CPU.
    inside = dtype if tf.config.list_physical_devices("GPU") else tf.float32
    strides = [1, stride, stride, 1]
    kernel = tf.cast(kernel * factors[:, None], inside)
    y = tf.nn.depthwise_conv2d(tf.cast(x, inside), kernel, strides, "SAME")
    return tf.nn.bias_add(y, tf.cast(bias, inside))
