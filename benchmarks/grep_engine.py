"""
Why the sandbox starts no program: RE2 in a worker process against GNU grep, and what a call costs.

    python benchmarks/grep_engine.py [--json] [--quick]

What is compared is measured in turn, within one run. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import psutil
from corpus import ABSENT_WORD, COMMON_WORD, RARE_WORD, Corpus, make_corpus
from figures import Figures, print_json, print_machine, print_table

from target_app.sandbox.isolation import IsolationLevel, Sandbox, make_sandbox
from target_app.sandbox.output import Limits
from target_app.sandbox.paths import DataRoot
from target_app.sandbox.result import Command

Work = Callable[[], Awaitable[object]]

PATTERNS = {
    "literal": (COMMON_WORD, False),
    "rare": (RARE_WORD, False),
    "absent": (ABSENT_WORD, False),
    "regex": (rf"\b{RARE_WORD[:4]}[a-z]+\b.*(or|an)", True),
}
"""What is looked for, and whether it is a regular expression."""

LIMITS = Limits(output_bytes=16_000_000, file_bytes=10_000_000, timeout_seconds=30)
MEMORY_BYTES = 512 * 1024 * 1024
OPENS = 200
"""How many paths are opened at a time: one alone is over too soon to be measured."""


async def in_turn(works: Mapping[str, Work], rounds: int) -> Figures:
    """Do each piece of work in every round, and give the median seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for index in range(rounds + 1):
        order = list(works) if index % 2 else list(reversed(works))
        for name in order:
            start = time.perf_counter()
            await works[name]()
            if index:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def spawned(folder: Path, *argv: str) -> Work:
    """Run a program as a careful engineer would: fixed argv, no input, no environment."""

    def run() -> None:
        subprocess.run(  # noqa: S603 - a fixed program on our own files
            argv,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={"LC_ALL": "C"},
            check=False,
            start_new_session=True,
        )

    return lambda: asyncio.to_thread(run)


def sandboxed(sandbox: Sandbox, name: str, path: str = ".", **options: object) -> Work:
    """Run a command in the sandbox; it must succeed."""

    async def run() -> None:
        execution = await sandbox.run(Command(name, path, options))
        if execution.error is not None:
            raise SystemExit(execution.error)

    return run


async def sandbox_of(root: DataRoot, isolation: IsolationLevel, workers: int = 1) -> Sandbox:
    """Make a sandbox of a level that must be there."""
    return await make_sandbox(
        root,
        LIMITS,
        isolation=isolation,
        require=isolation,
        workers=workers,
        memory_bytes=MEMORY_BYTES,
    )


async def measure_grep(corpus: Corpus, confined: Sandbox, rounds: int) -> Figures:
    """Search the whole folder for each pattern with either engine."""
    works: dict[str, Work] = {}
    for name, (pattern, regex) in PATTERNS.items():
        kind = "-E" if regex else "-F"
        works[f"grep_{name}_gnu_seconds"] = spawned(
            corpus.folder, "/usr/bin/grep", "-rnI", kind, "-e", pattern, "--", "."
        )
        works[f"grep_{name}_re2_seconds"] = sandboxed(
            confined, "grep", pattern=pattern, regex=regex
        )
    figures = await in_turn(works, rounds)
    for name in PATTERNS:
        gnu, re2 = figures[f"grep_{name}_gnu_seconds"], figures[f"grep_{name}_re2_seconds"]
        figures[f"grep_{name}_re2_to_gnu"] = re2 / gnu
    return figures


async def measure_cat(
    corpus: Corpus, confined: Sandbox, in_process: Sandbox, rounds: int
) -> Figures:
    """Read a small file in every way."""
    figures = await in_turn(
        {
            "cat_spawned_seconds": spawned(corpus.folder, "/bin/cat", "--", corpus.page),
            "cat_worker_seconds": sandboxed(confined, "cat", corpus.page),
            "cat_in_process_seconds": sandboxed(in_process, "cat", corpus.page),
        },
        rounds,
    )
    figures["cat_spawned_to_worker"] = (
        figures["cat_spawned_seconds"] / figures["cat_worker_seconds"]
    )
    return figures


async def measure_open(corpus: Corpus, rounds: int) -> Figures:
    """Open, look at and close a path in three ways; seconds of one time."""

    def beneath(root: DataRoot) -> Work:
        async def work() -> None:
            for _ in range(OPENS):
                with root.open(corpus.page):
                    pass

        return work

    async def plain() -> None:
        path = os.fspath(corpus.folder / corpus.page)
        for _ in range(OPENS):
            fd = os.open(path, os.O_RDONLY)
            os.fstat(fd)
            os.close(fd)

    works = {
        "open_plain_seconds": plain,
        "open_openat2_seconds": beneath(DataRoot(corpus.folder, use_openat2=True)),
        "open_walk_seconds": beneath(DataRoot(corpus.folder, use_openat2=False)),
    }
    return {name: seconds / OPENS for name, seconds in (await in_turn(works, rounds)).items()}


async def measure_start(root: DataRoot, rounds: int) -> Figures:
    """Start a worker until it has proved its confinement, and weigh it."""

    async def start_and_close() -> None:
        await (await sandbox_of(root, IsolationLevel.LANDLOCK)).close()

    figures = await in_turn({"worker_start_seconds": start_and_close}, rounds)
    before = {child.pid for child in psutil.Process().children()}
    sandbox = await sandbox_of(root, IsolationLevel.LANDLOCK)
    try:
        (worker,) = (child for child in psutil.Process().children() if child.pid not in before)
        figures["worker_rss_bytes"] = float(worker.memory_info().rss)
    finally:
        await sandbox.close()
    return figures


async def measure(corpus: Corpus, rounds: int) -> Figures:
    """Take all figures."""
    root = DataRoot(corpus.folder)
    confined = await sandbox_of(root, IsolationLevel.LANDLOCK)
    in_process = await sandbox_of(root, IsolationLevel.PATHS)
    try:
        return {
            **await measure_grep(corpus, confined, rounds),
            **await measure_cat(corpus, confined, in_process, 20 * rounds),
            **await measure_open(corpus, 20 * rounds),
            **await measure_start(root, rounds),
        }
    finally:
        await confined.close()


def report(figures: Figures) -> None:
    """Print the figures for people."""
    print_table(
        "Search of the whole folder, ms",
        ("pattern", "GNU grep spawned", "RE2 in a worker", "RE2 / grep"),
        [
            (
                name,
                f"{figures[f'grep_{name}_gnu_seconds'] * 1e3:.1f}",
                f"{figures[f'grep_{name}_re2_seconds'] * 1e3:.1f}",
                f"{figures[f'grep_{name}_re2_to_gnu']:.2f}",
            )
            for name in PATTERNS
        ],
    )
    print_table(
        "A small command (cat of one page), us",
        ("spawned", "in a worker", "in a thread of the app", "spawned / worker"),
        [
            (
                f"{figures['cat_spawned_seconds'] * 1e6:.0f}",
                f"{figures['cat_worker_seconds'] * 1e6:.0f}",
                f"{figures['cat_in_process_seconds'] * 1e6:.0f}",
                f"{figures['cat_spawned_to_worker']:.1f}",
            )
        ],
    )
    print_table(
        "Open, fstat and close of a path, us",
        ("unguarded", "openat2", "walk"),
        [
            tuple(
                f"{figures[f'open_{way}_seconds'] * 1e6:.1f}"
                for way in ("plain", "openat2", "walk")
            )
        ],
    )
    print_table(
        "A worker",
        ("start, ms", "resident memory, MB"),
        [
            (
                f"{figures['worker_start_seconds'] * 1e3:.0f}",
                f"{figures['worker_rss_bytes'] / 1e6:.1f}",
            )
        ],
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 2)[1])
    parser.add_argument("--json", action="store_true", help="print one flat object")
    parser.add_argument("--quick", action="store_true", help="fewer files and rounds")
    options = parser.parse_args()
    files, size, rounds = (200, 3_000_000, 5) if options.quick else (2000, 30_000_000, 15)
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder) / "corpus", files=files, bytes_total=size)
        figures = asyncio.run(measure(corpus, rounds))
    if options.json:
        print_json(figures)
        return
    print_machine({"files": str(files), "MB": f"{corpus.size_bytes / 1e6:.0f}"})
    report(figures)


if __name__ == "__main__":
    main()
