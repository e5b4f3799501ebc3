"""The page in a real browser: wide and narrow, nothing sticks out and nothing is fetched."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.report.html import page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-quic",
    "--allow-file-access-from-files", "--virtual-time-budget=3000",
)  # fmt: skip

# A frame is as narrow as a phone; a window of the browser cannot be.
FRAME = """<!doctype html><iframe id="f" src="report.html"
style="width:{width}px;height:4000px;border:0"></iframe>
<script>
f.onload = () => {{
  const root = f.contentDocument.documentElement;
  const fetched = f.contentWindow.performance.getEntriesByType("resource").length;
  document.title = `scroll ${{root.scrollWidth}} client ${{root.clientWidth}} fetched ${{fetched}}`;
}};
</script>"""


@pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="chromium is not installed here"
)
@pytest.mark.parametrize(
    "width", [pytest.param(1440, id="a desk"), pytest.param(390, id="a phone")]
)
def test_the_page_fits_and_fetches_nothing(
    document: dict[str, Any], tmp_path: Path, width: int
) -> None:
    assert CHROMIUM is not None, "CI must have chromium: a test of the pages would be left out"
    (tmp_path / "report.html").write_text(page(document))
    (tmp_path / "frame.html").write_text(FRAME.format(width=width))

    shown = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         (tmp_path / "frame.html").as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip

    found = re.search(r"<title>(.*)</title>", shown)
    assert found is not None, shown[:500]
    scroll, client, fetched = map(int, re.findall(r"\d+", found.group(1)))
    assert width - 20 <= client <= width, "a frame of this width, less a scroll bar"
    assert (scroll, fetched) == (client, 0)
