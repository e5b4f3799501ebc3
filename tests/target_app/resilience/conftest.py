"""A real LLM client and real processes: what is tested here is what happens between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.target_app.resilience.llm_server import LLMServer, llm_up


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def llm(anyio_backend: str) -> AsyncIterator[LLMServer]:
    async with llm_up() as server:
        yield server


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of documents, which is all that the app is given."""
    documents = tmp_path_factory.mktemp("resilience") / "documents"
    (documents / "teams").mkdir(parents=True)
    (documents / "readme.md").write_text("alpha\nbeta\ngamma\n")
    (documents / "teams" / "blue.txt").write_text("Blue keeps alpha running\n")
    (documents / "teams" / "red.txt").write_text("Red ships beta\n")
    return documents
