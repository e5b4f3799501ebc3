"""The report: verdicts in, pages out. Reads nothing but verdicts.json."""

from __future__ import annotations

from pathlib import Path

from harness.report.html import page
from harness.report.junit import junit
from harness.report.summary import summary
from harness.report.verdicts import read_verdicts

_PAGES = ("junit.xml", "summary.md", "report.html")


def remove_report(run_directory: Path) -> bool:
    """Remove pages that no longer say what verdicts.json does; False when there were none."""
    pages = [p for name in _PAGES if (p := run_directory / name).exists()]
    for path in pages:
        path.unlink()
    return bool(pages)


def write_report(run_directory: Path) -> Path:
    """
    Write report.html, junit.xml and summary.md beside verdicts.json; gives the first one's path.

    The same verdicts give the same bytes. Raises RunError when verdicts.json is
    missing, damaged or of another version.
    """
    document = read_verdicts(run_directory)
    texts = (junit(document), summary(document), page(document))
    for name, text in zip(_PAGES, texts, strict=True):
        _write_whole(run_directory / name, text)
    return run_directory / "report.html"


def _write_whole(path: Path, text: str) -> None:
    """Replace a file at once, so that nobody ever reads half of it."""
    fresh = path.with_name(f".{path.name}.tmp")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
