"""
What the cache is worth: each tool with and without it, after a change, and on mixed questions.

    python benchmarks/cache.py [--json] [--quick]

Every call goes through `ToolRunner.run`, as a call of the LLM does, with metrics counted. What is
compared is measured in turn, within one run. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from corpus import RARE_WORD, Corpus, make_corpus
from figures import Figures, Target, print_json, print_machine, print_table, print_targets
from runners import Runners, running
from tool_calls import (
    Row,
    every_tool,
    mixed_questions,
    searches,
    tool_call,
    zipf_sequence,
)

from target_app.agent.execution import ToolRunner
from target_app.agent.messages import ToolCall

WARM_CALLS = 10
"""Calls answered by the cache for every one that is not: they take so much less time."""

FEWEST = 3
LONG_SECONDS = 2.0
SETTLE_SECONDS = 0.03
"""Longer than the time for which the app does not trust the date of a change."""

ZIPF_CALLS = 600
ZIPF_QUERIES = 200
SEED = 7

TARGETS = (
    Target("grep_tree_speedup", at_least=150),
    Target("find_tree_speedup", at_least=100),
    Target("cat_speedup", at_least=20),
    Target("zipf_time_ratio", at_most=0.5),
)


@dataclass(slots=True)
class Times:
    """Seconds of one row: the command spawned, the tool run, the tool answered by the cache."""

    command: list[float] = field(default_factory=list)
    uncached: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)


def main() -> None:
    """Measure and print."""
    options = _options()
    with tempfile.TemporaryDirectory() as made:
        figures = uvloop.run(_measure(options, Path(made)))
    if options.json:
        print_json(figures)
    else:
        _print_tables(figures, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the tools with and without the cache.")
    parser.add_argument("--json", action="store_true", help="print one flat object")
    parser.add_argument("--quick", action="store_true", help="about half a minute; rough figures")
    parser.add_argument("--files", type=int, default=2000, help="documents (2000)")
    parser.add_argument("--many-files", type=int, default=20_000, help="documents (20000)")
    parser.add_argument("--seconds", type=float, help="time for one row (1)")
    parser.add_argument("--changes", type=int, help="changes of a file (15)")
    parser.add_argument("--zipf-rounds", type=int, help="pairs of runs of the mixed questions (2)")
    options = parser.parse_args()
    usual = (0.1, 5, 1) if options.quick else (1.0, 15, 2)
    for name, value in zip(("seconds", "changes", "zipf_rounds"), usual, strict=True):
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


async def _measure(options: argparse.Namespace, folder: Path) -> Figures:
    corpus = make_corpus(folder / "documents", options.files, options.files * 15_000)
    many = make_corpus(folder / "many_documents", options.many_files, options.many_files * 3000)
    await asyncio.sleep(SETTLE_SECONDS)
    figures = await _zipf(corpus, folder, options.zipf_rounds)
    for documents, rows, suffix in (
        (corpus, every_tool(corpus), ""),
        (many, searches(), "_20k"),
    ):
        async with running(documents.folder, folder / f"cache{suffix}") as runners:
            first = time.perf_counter()
            await runners.cached.run(tool_call("find", path=".", name_pattern="*.none"))
            figures[f"first_search{suffix}_seconds"] = time.perf_counter() - first
            for row in rows:
                times = await _row(row, runners, documents.folder, options.seconds)
                figures |= _row_figures(row.name, suffix, times)
            figures |= await _changes(documents, runners, options.changes, suffix)
    return figures


async def _row(row: Row, runners: Runners, folder: Path, seconds: float) -> Times:
    """Measure the three in turn; first see that the cache answers, and what the tool answers."""
    truth = await runners.uncached.run(row.call)
    for _ in range(2):
        known = await runners.cached.run(row.call)
    if not (known.cache_hit and known.result == truth.result and truth.result.success):
        raise RuntimeError(f"{row.name} is not answered from the cache: {known}, {truth}")
    times = Times()
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline or len(times.command) < FEWEST:
        times.command.append(_spawned(row.command, folder))
        times.uncached.append(await _timed(runners.uncached, row.call))
        for _ in range(WARM_CALLS):
            times.warm.append(await _timed(runners.cached, row.call))
    return times


def _row_figures(name: str, suffix: str, times: Times) -> Figures:
    command, uncached, warm = map(statistics.median, (times.command, times.uncached, times.warm))
    return {
        f"{name}_command{suffix}_seconds": command,
        f"{name}_uncached{suffix}_seconds": uncached,
        f"{name}_warm{suffix}_seconds": warm,
        f"{name}_speedup{suffix}": command / warm,
        f"{name}_own_speedup{suffix}": uncached / warm,
    }


async def _changes(corpus: Corpus, runners: Runners, changes: int, suffix: str) -> Figures:
    """Change one file, each time before a question that its change concerns or does not."""
    changed = corpus.folder / corpus.page
    questions = {
        "changed_elsewhere": tool_call("grep", path=corpus.areas[-1], pattern=RARE_WORD),
        "changed_topic": tool_call("grep", path=corpus.topics[0], pattern=RARE_WORD),
        "changed_tree": tool_call("grep", path=".", pattern=RARE_WORD),
    }
    figures: Figures = {}
    for name, call in questions.items():
        seconds: list[float] = []
        await runners.cached.run(call)
        # What takes long needs fewer repetitions for a good median.
        while len(seconds) < changes and (len(seconds) < FEWEST or sum(seconds) < LONG_SECONDS):
            with changed.open("ab") as file:
                file.write(b"one line more\n")
            await asyncio.sleep(SETTLE_SECONDS)
            seconds.append(await _timed(runners.cached, call))
        figures[f"{name}{suffix}_seconds"] = statistics.median(seconds)
    return figures


async def _zipf(corpus: Corpus, folder: Path, rounds: int) -> Figures:
    """Ask the same mixed questions with a cache that starts empty and without one, in turn."""
    questions = mixed_questions(corpus, ZIPF_QUERIES, SEED)
    calls = zipf_sequence(questions, ZIPF_CALLS, SEED)
    cached, uncached, hits = [], [], 0
    for number in range(rounds):
        async with running(corpus.folder, folder / f"cache_zipf_{number}") as runners:
            for way in (("cached", "uncached"), ("uncached", "cached"))[number % 2]:
                begun = time.perf_counter()
                if way == "cached":
                    hits = await _hits(runners.cached, calls)
                    cached.append(time.perf_counter() - begun)
                else:
                    await _hits(runners.uncached, calls)
                    uncached.append(time.perf_counter() - begun)
    return {
        "zipf_hit_rate": hits / len(calls),
        "zipf_cached_seconds": statistics.median(cached),
        "zipf_uncached_seconds": statistics.median(uncached),
        "zipf_time_ratio": statistics.median(cached) / statistics.median(uncached),
    }


async def _hits(runner: ToolRunner, calls: Sequence[ToolCall]) -> int:
    """Run calls one after the other, and count those that the cache answered."""
    return sum([bool((await runner.run(call)).cache_hit) for call in calls])


async def _timed(runner: ToolRunner, call: ToolCall) -> float:
    begun = time.perf_counter()
    await runner.run(call)
    return time.perf_counter() - begun


def _spawned(command: tuple[str, ...], folder: Path) -> float:
    """Run a command in the cheapest way there is, and take its whole output."""
    begun = time.perf_counter()
    subprocess.run(  # noqa: S603 - fixed commands on our own files
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return time.perf_counter() - begun


def _print_tables(figures: Figures, options: argparse.Namespace) -> None:
    print_machine({})
    for suffix, files in (("", options.files), ("_20k", options.many_files)):
        rows = [
            (
                name,
                *(
                    _milliseconds(figures[f"{name}_{way}{suffix}_seconds"])
                    for way in ("command", "uncached", "warm")
                ),
                f"{figures[f'{name}_speedup{suffix}']:.1f}",
                f"{figures[f'{name}_own_speedup{suffix}']:.1f}",
            )
            for name in _names(figures, suffix)
        ]
        print_table(
            f"{files} files: one call",
            ("ms", "command", "tool", "warm", "command / warm", "tool / warm"),
            rows,
        )
        said = [
            ("first search of all, cache empty", f"first_search{suffix}_seconds"),
            ("grep in another area", f"changed_elsewhere{suffix}_seconds"),
            ("grep in the topic of the file", f"changed_topic{suffix}_seconds"),
            ("grep through everything", f"changed_tree{suffix}_seconds"),
        ]
        print_table(
            f"{files} files: one call after one file changed",
            ("", "ms"),
            [(text, _milliseconds(figures[name])) for text, name in said],
        )
    print(
        f"\n{ZIPF_CALLS} mixed calls over {ZIPF_QUERIES} questions, the cache empty at first: "
        f"hit rate {figures['zipf_hit_rate']:.0%}, "
        f"{figures['zipf_cached_seconds']:.2f} s with the cache, "
        f"{figures['zipf_uncached_seconds']:.2f} s without"
    )
    print_targets(figures, TARGETS)


def _names(figures: Figures, suffix: str) -> list[str]:
    """Name the rows that were measured on a corpus."""
    ending = f"_warm{suffix}_seconds"
    return [name.removesuffix(ending) for name in figures if name.endswith(ending)]


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3f}"


if __name__ == "__main__":
    main()
