"""One app a level of isolation, for all attacks of a module."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Iterator

import pytest

from target_app.sandbox.isolation import IsolationError
from tests.target_app.attacks.siege import LEVELS, Siege, besieged
from tests.target_app.attacks.world import CANARY, World, make_world


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def environment() -> Iterator[None]:
    """Put secrets where a process that inherits the environment would find them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", f"sk-{CANARY}-key")
        patch.setenv("SOME_PASSWORD", f"{CANARY}-password")
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp)


@pytest.fixture(scope="module", params=LEVELS)
def level(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    """Settings of the app beyond the usual; a module may have its own."""
    return {}


@pytest.fixture(scope="module")
def own_heap() -> Iterator[None]:
    """
    Keep the garbage collector off what the test suite holds, and no app has.

    To go through some thousand collected tests takes it a quarter of a second, which would be
    counted as a stall of the app.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
async def siege(
    level: str,
    world: World,
    settings: dict[str, object],
    environment: None,
    own_heap: None,
    anyio_backend: str,
) -> AsyncIterator[Siege]:
    try:
        async with besieged(world, level, **settings) as started:
            yield started
            # Every attack was judged by the counters; this is the page that operators see.
            assert await started.counts() == started.counted()
        assert world.holds_a_secret() == []
    except IsolationError as error:
        # Where the tests must prove something, a level that is missing is no excuse.
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
