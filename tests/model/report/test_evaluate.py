import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from model.report.evaluate import calibration_bins, evaluate, fit_temperature, softmax, wilson_interval


def test_figures_of_four_answers() -> None:
    probs = np.array(
        [
            [0.9, 0.1, 0, 0, 0],  # right
            [0.6, 0.4, 0, 0, 0],  # wrong: class 1
            [0, 0, 0.8, 0.2, 0],  # right
            [0, 0, 0, 0.5, 0.5],  # the first of two equals: wrong, class 4
        ],
        np.float32,
    )
    found = evaluate(probs, np.array([0, 1, 2, 4]))
    assert found.accuracy == 0.5
    assert found.per_class["airplane"] == 1
    assert found.per_class["automobile"] == 0
    assert "cat" not in found.per_class, "without an image there is nothing to say"
    assert found.confusion[1].tolist() == [1, 0, 0, 0, 0]
    assert found.confusion[4].tolist() == [0, 0, 0, 1, 0]
    assert found.nll == pytest.approx(-np.log([0.9, 0.4, 0.8, 0.5]).mean(), rel=1e-6)
    # Each answer alone in its bin of confidence.
    assert found.ece == pytest.approx((0.1 + 0.6 + 0.2 + 0.5) / 4, rel=1e-6)


@settings(deadline=None)
@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_wilsons(counts: tuple[int, int]) -> None:
    theirs = scipy.stats.binomtest(*counts).proportion_ci(0.95, method="wilson")
    assert wilson_interval(*counts) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_a_perfectly_calibrated_classifier_has_no_error() -> None:
    # Of the answers given with confidence 0.8, 4 of 5 are right.
    probs = np.tile([0.8, 0.2, 0, 0, 0], (5, 1))
    found = evaluate(probs, np.array([0, 0, 0, 0, 1]))
    assert found.ece == pytest.approx(0, abs=1e-12)
    (only,) = calibration_bins(probs, np.array([0, 0, 0, 0, 1]))
    assert (only.count, only.accuracy) == (5, 0.8)


@pytest.mark.parametrize("true_temperature", [0.3, 1.0, 2.5, 7.0])
def test_the_temperature_that_made_the_labels_is_found(true_temperature: float) -> None:
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 4, (4000, 5))
    labels = np.array(
        [rng.choice(5, p=row) for row in scipy.special.softmax(logits / true_temperature, axis=1)]
    )
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(true_temperature, rel=0.1)

    def unlikely(temperature: float) -> float:
        """Firth's penalised likelihood: the information is the variance of the logits, image by image."""
        probs = scipy.special.softmax(logits / temperature, axis=1)
        spread = (probs * (logits - (probs * logits).sum(axis=1, keepdims=True)) ** 2).sum()
        likelihood = scipy.special.log_softmax(logits / temperature, axis=1)[np.arange(4000), labels].sum()
        return float(-likelihood - np.log(spread) / 2)

    bounds, options = (0.05, 20), {"xatol": 1e-8}
    best = scipy.optimize.minimize_scalar(unlikely, bounds=bounds, method="bounded", options=options)
    assert found == pytest.approx(best.x, rel=1e-3)


def test_of_few_images_the_temperature_is_neither_too_low_nor_the_lowest_there_is() -> None:
    """60 images with three mistakes on average, often none: the likeliest is too low, at times 0.05."""
    rng, found, likeliest = np.random.default_rng(7), [], []
    for _ in range(200):
        logits = rng.normal(0, 3, (60, 5))
        logits[np.arange(60), rng.integers(0, 5, 60)] += 9
        drawn = scipy.special.softmax(logits, axis=1).cumsum(axis=1)
        labels = (rng.random((60, 1)) * drawn[:, -1:] > drawn).sum(axis=1)
        found.append(fit_temperature(logits, labels))

        def nll(log: float, logits: np.ndarray = logits, labels: np.ndarray = labels) -> float:
            return float(
                -scipy.special.log_softmax(logits / np.exp(log), axis=1)[np.arange(60), labels].sum()
            )

        bounds = (np.log(0.05), np.log(20))
        likeliest.append(np.exp(scipy.optimize.minimize_scalar(nll, bounds=bounds, method="bounded").x))
    assert np.mean(np.log(found)) == pytest.approx(0, abs=0.06)
    assert np.mean(np.log(likeliest)) < -0.15
    assert min(found) > 0.2 > 0.06 > min(likeliest)


def test_temperature_never_changes_the_answer() -> None:
    logits = np.random.default_rng(1).normal(0, 50, (100, 5)).astype(np.float32)
    for temperature in (0.05, 1.0, 20.0):
        probs = softmax(logits, temperature)
        assert np.array_equal(probs.argmax(axis=1), logits.argmax(axis=1))
        assert probs.sum(axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("scores", "labels"), [((3, 5), 2), ((3, 4), 3), ((0, 5), 0)])
def test_shapes_that_do_not_fit_are_refused(scores: tuple[int, int], labels: int) -> None:
    with pytest.raises(ValueError, match=r"do not fit|no image"):
        evaluate(np.zeros(scores), np.zeros(labels, np.int64))


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_any_number_of_classes(classes: int) -> None:
    names = tuple(f"class {number}" for number in range(classes))
    labels = np.arange(classes)
    answers = np.where(labels == 1, 0, labels)
    probs = np.full((classes, classes), 0.2 / (classes - 1))
    probs[labels, answers] = 0.8
    found = evaluate(probs, labels, names)
    assert found.accuracy == pytest.approx(1 - 1 / classes)
    assert found.per_class == {**dict.fromkeys(names, 1.0), "class 1": 0.0}
    assert found.confusion.shape == (classes, classes)
    assert found.confusion[1, 0] == 1
    assert found.ece == pytest.approx(abs(0.8 - found.accuracy))
    assert found.classes == names


def test_what_was_not_learned_counts_nowhere() -> None:
    probs = np.array([[0.9, 0, 0.1], [0.2, 0, 0.8], [0.6, 0, 0.4], [0.3, 0, 0.7]])
    labels = np.array([0, 2, 1, 1])
    found = evaluate(probs, labels, ("a", "b", "c"), unlearned=[1])
    judged = evaluate(probs[:2], labels[:2], ("a", "b", "c"))
    assert found.images == 2
    assert found.accuracy == 1
    assert found.per_class == {"a": 1, "c": 1}
    assert (found.ece, found.nll) == (judged.ece, judged.nll)
    assert found.confusion.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
    # A class that is learned and never given is wrong, however little it is given.
    assert evaluate(probs, labels, ("a", "b", "c")).accuracy == 0.5
    with pytest.raises(ValueError, match="no image"):
        evaluate(probs[2:], labels[2:], ("a", "b", "c"), unlearned=[1])


def test_a_class_without_probability_does_not_disturb_the_temperature() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 3, (500, 4))
    labels = rng.integers(0, 4, 500)
    masked = np.insert(logits, 2, -1e9, axis=1)
    assert fit_temperature(masked, labels + (labels >= 2)) == pytest.approx(fit_temperature(logits, labels))
    assert (softmax(masked, 0.05)[:, 2] == 0).all()
