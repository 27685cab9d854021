import pytest

from image_transformer.pool import Endpoint, Endpoints


@pytest.fixture
async def three() -> Endpoints:
    """Three addresses behind one name, each with the model ready."""
    endpoints = Endpoints("127.0.0.1:8000")
    await endpoints.resolve()
    for last in (2, 3):
        address = (f"127.0.0.{last}", 8000)
        endpoints._endpoints[address] = Endpoint(address)
    for endpoint in endpoints.all:
        endpoint.healthy = True
    return endpoints


async def test_one_call_after_the_other_goes_round(three: Endpoints) -> None:
    picked = [three.pick() for _ in range(9)]
    assert len(set(picked[:3])) == 3
    assert picked[3:] == picked[:6]


async def test_the_one_with_the_fewest_calls_under_way_comes_first(three: Endpoints) -> None:
    first, second, third = three.all
    first.busy, second.busy, third.busy = 2, 1, 2
    assert [three.pick(), three.pick()] == [second, second]
    assert three.pick(besides=second) is first
    assert three.pick(besides=second) is third


async def test_who_is_not_ready_is_not_picked(three: Endpoints) -> None:
    first, *others = three.all
    first.healthy = False
    assert {three.pick() for _ in range(4)} == set(others)
    for endpoint in others:
        endpoint.healthy = False
    assert three.pick() is None
