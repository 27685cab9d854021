import numpy as np
import pytest
import scipy.ndimage

from model.contract import FILTER_BANK, FILTER_NAMES
from model.network.filters import KERNELS


def test_the_kernels_are_the_ones_that_are_promised() -> None:
    assert tuple(KERNELS) == FILTER_BANK == ("image", *FILTER_NAMES)
    assert KERNELS["smoothing"].tolist() == pytest.approx(np.full((3, 3), 1 / 9))
    assert KERNELS["edge_detection"].tolist() == [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]
    assert KERNELS["sharpness"].tolist() == [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
    # Smoothing and sharpening keep an even surface as it is; edge detection makes it black.
    assert {name: round(float(kernel.sum()), 5) for name, kernel in KERNELS.items()} == {
        "image": 1,
        "smoothing": 1,
        "edge_detection": 0,
        "sharpness": 1,
    }


@pytest.mark.slow
@pytest.mark.parametrize("size", [32, 48])
def test_the_bank_shows_each_filter_in_the_order_of_the_contract(size: int) -> None:
    from model.network.filters import filter_bank

    assert filter_bank().input.shape == (None, 32, 32, 3)
    images = np.random.default_rng(2).integers(0, 256, (3, size, size, 3), np.uint8)
    bank = filter_bank(size)
    assert [(tensor.name, tensor.dtype, tensor.shape[1:]) for tensor in bank.inputs] == [
        ("image", "uint8", (size, size, 3))
    ]
    assert bank.output_names == ["filtered"]
    seen = bank(images).numpy()
    assert seen.shape == (3, size, size, 12)
    assert seen.dtype == np.float32
    for position, name in enumerate(FILTER_BANK):
        for colour in range(3):
            expected = np.stack(
                [
                    scipy.ndimage.correlate(
                        image[..., colour] / 255, KERNELS[name].astype(float), mode="constant"
                    )
                    for image in images
                ]
            )
            np.testing.assert_allclose(seen[..., 3 * position + colour], expected, atol=2e-6, err_msg=name)


@pytest.mark.slow
def test_the_filters_are_frozen() -> None:
    from model.network.cnn import build_network

    network = build_network(0)
    assert "filters" not in {variable.path.split("/")[0] for variable in network.trainable_variables}
