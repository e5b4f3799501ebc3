"""Documents whose writing was never finished: removed at the start, unless they may yet be."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from target_app.documents import leftovers
from target_app.documents.leftovers import remove_leftovers
from target_app.sandbox.paths import DataRoot
from tests.target_app.scripted import Start

DAY_SECONDS = 86_400
NOW = 1_700_000_000.0


def leave(file: Path, written: float) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("half a sen")
    os.utime(file, (written, written))
    return file


def test_old_drafts_are_removed_wherever_they_are(documents: Path) -> None:
    old = [
        leave(documents / ".unfinished-1", NOW - 1),
        leave(documents / "teams" / ".unfinished-2", NOW - 1),
        leave(documents / "a" / ".hidden" / ".unfinished-3", NOW - 1),
    ]
    young = leave(documents / "teams" / ".unfinished-4", NOW + 1)
    document = leave(documents / "teams" / "unfinished-5", NOW - 1)

    assert remove_leftovers(DataRoot(documents), NOW) == 3
    assert [path for path in old if path.exists()] == []
    assert young.exists()
    assert document.exists()


def test_what_no_draft_is_stays(documents: Path) -> None:
    outside = leave(documents.parent / "outside" / ".unfinished-1", NOW - 1)
    (documents / "link").symlink_to(outside.parent)
    (documents / ".unfinished-link").symlink_to(outside)
    inside = leave(documents / ".unfinished-folder" / "notes.md", NOW - 1)

    assert remove_leftovers(DataRoot(documents), NOW) == 0
    assert outside.exists()
    assert inside.exists()
    assert (documents / ".unfinished-link").is_symlink()


def test_the_search_has_an_end(documents: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        leave(documents / "teams" / f".unfinished-{number}", NOW - 1)
    root = DataRoot(documents / "teams")
    enough = iter([False, True])

    assert remove_leftovers(root, NOW, lambda: next(enough)) in {0, 1}
    monkeypatch.setattr(leftovers, "MAX_LOOKED_AT", 0)
    assert remove_leftovers(root, NOW) == 0


def test_documents_that_are_gone_have_no_leftovers(documents: Path) -> None:
    root = DataRoot(documents)
    documents.rename(documents.with_name("elsewhere"))

    assert remove_leftovers(root, NOW) == 0


@pytest.mark.anyio
async def test_the_app_removes_them_when_it_starts(
    start: Start, documents: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    old = leave(documents / "teams" / ".unfinished-1", time.time() - DAY_SECONDS)
    young = leave(documents / ".unfinished-2", time.time())
    told = "removed 1 documents whose writing was never finished"
    async with start() as app:
        # It goes on beside the first requests.
        while told not in caplog.messages:
            assert (await app.client.get("/ready")).status_code == 200

    assert not old.exists()
    assert young.exists()
