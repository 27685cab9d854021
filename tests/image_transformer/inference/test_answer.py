import asyncio
import io
from typing import Any

import numpy as np
from PIL import Image

from image_transformer.codecs.tensors import Images
from model.images.decode import decode_image


def photograph(side: int = 1200) -> bytes:
    """A JPEG that is too large to be decoded on the event loop."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


async def test_encoded_images_are_decoded_in_order(
    service: Any, small_model: Any, jpegs: list[bytes]
) -> None:
    images = [*jpegs, photograph(), *jpegs]
    result = await service.inference.classify(Images(images))
    wanted = small_model.probs(np.stack([decode_image(image) for image in images]))
    np.testing.assert_array_equal(result.probs, wanted)
    assert service.metrics.versions == {"7": 11}


async def test_a_bad_image_among_many_names_its_index(service: Any, jpegs: list[bytes], failure: Any) -> None:
    with failure("broken_image") as raised:
        await service.inference.classify(Images([*jpegs, jpegs[0][:300]]))
    assert raised.value.index == 5
    assert raised.value.sentence.startswith("Image 5: ")


async def test_one_bad_image_names_no_index(service: Any, failure: Any) -> None:
    with failure("not_an_image") as raised:
        await service.inference.classify(Images([b"hello"]))
    assert raised.value.index is None


async def test_a_bad_image_stays_alone(service: Any, small_model: Any, jpegs: list[bytes]) -> None:
    """31 good ones and a broken one, from other clients at the same time: 31 right answers."""
    service.fake.answers.clear()
    sent = [jpegs[number % 5] for number in range(32)]
    sent[13] = sent[13][:200]
    tasks = [asyncio.create_task(service.inference.classify(Images([image]))) for image in sent]
    await asyncio.sleep(0.01)
    service.fake.answers.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert getattr(results.pop(13), "code", None) == "broken_image"
    sent.pop(13)
    for image, result in zip(sent, results, strict=True):
        assert not isinstance(result, BaseException)
        np.testing.assert_array_equal(result.probs, small_model.probs(decode_image(image)[None]))


async def test_too_many_images(start_service: Any, jpegs: list[bytes], failure: Any) -> None:
    service = await start_service(max_images=4)
    with failure("too_many_images"):
        await service.inference.classify(Images(jpegs))


async def test_limits_come_from_the_settings(start_service: Any, jpegs: list[bytes], failure: Any) -> None:
    service = await start_service(max_pixels=1000)
    with failure("too_many_pixels"):
        await service.inference.classify(Images(jpegs[:1]))
    service = await start_service(max_image_bytes=100)
    with failure("too_many_bytes"):
        await service.inference.classify(Images(jpegs[:1]))


async def test_too_many_large_images_at_once(start_service: Any, failure: Any) -> None:
    service = await start_service(decode_threads=1, max_queued_images=10_000)
    large = photograph()
    tasks = [asyncio.create_task(service.inference.classify(Images([large]))) for _ in range(20)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [getattr(result, "code", "right") for result in results] == ["right"] * 16 + ["overloaded"] * 4


async def test_another_version_is_not_served(service: Any, jpegs: list[bytes], failure: Any) -> None:
    with failure("unknown_version"):
        await service.inference.classify(Images(jpegs, version="6"))
    assert service.fake.calls == []
    assert (await service.inference.classify(Images(jpegs, version="7"))).version == "7"


async def test_the_version_that_answers_counts_not_the_one_last_seen(
    service: Any, jpegs: list[bytes], failure: Any
) -> None:
    service.fake.version = "8"
    with failure("unknown_version"):
        await service.inference.classify(Images(jpegs, version="7"))


async def test_nobody_is_asked_while_the_model_is_away(
    service: Any, jpegs: list[bytes], failure: Any
) -> None:
    service.fake.status = 503
    await service.triton.probe()
    with failure("model_unavailable"):
        await service.inference.classify(Images(jpegs))
    assert service.fake.calls == []


async def test_a_body_counts_until_its_answer(start_service: Any) -> None:
    """Bodies that wait for the decoder or for Triton are held as well as those that come in."""
    large = photograph()
    service = await start_service(max_held_bytes=2 * len(large) + 1000)
    service.fake.answers.clear()

    def send() -> Any:
        return service.call("POST", "/predict", [large[:1000], large[1000:]], content_type="image/png")

    waiting = [asyncio.create_task(send()) for _ in range(2)]
    async with asyncio.timeout(20):
        while sum(service.fake.calls) + service.inference._batcher._queued < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    refused = await send()
    assert (refused.status, refused.json()["code"]) == (429, "overloaded")
    service.fake.answers.set()
    assert [(await task).status for task in waiting] == [200, 200]
    assert (await send()).status == 200
    assert service.inference.held.count == 0
