"""The commands that need no server: judge and report, their exit codes and their one-line errors."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_signals_and_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command takes over signals and the proxy settings of its process, here the tests'."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "example.org")
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def known(known_run: Callable[..., Any]) -> Any:
    """A run of warm_cache in which all witnesses agree; with promises and prices of its own."""
    directory = known_run()
    for name in ("slo.yaml", "prices.yaml"):
        (directory.path / name).write_text((ROOT / name).read_text())
    return directory


def promise(tmp_path: Path, at_most: str) -> str:
    path = tmp_path / f"within-{at_most}.yaml"
    path.write_text(
        "version: 1\nobjectives:\n  - {name: fast, says: Chats are fast., kind: latency, "
        f"quantile: 95%, at_most: {at_most}, gate: true, witnesses: {{client: response_time}}}}\n"
    )
    return str(path)


@pytest.mark.parametrize(
    ("at_most", "code", "word"),
    [
        pytest.param("1s", 0, "MET", id="all are faster: met"),
        pytest.param("400ms", 1, "MISSED", id="most are slower: missed"),
        pytest.param("542ms", 3, "INCONCLUSIVE", id="just about 95 %: too few to say"),
    ],
)
def test_the_exit_code_says_the_verdict(
    known: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], at_most: str, code: int,
    word: str,
) -> None:  # fmt: skip
    assert main(["judge", str(known.path), "--slo", promise(tmp_path, at_most)]) == code
    document = json.loads((known.path / "verdicts.json").read_text())
    assert (document["status"], document["exit_code"]) == (word.lower(), code)
    assert f"{word}: " in capsys.readouterr().out


def test_judging_twice_gives_the_same_bytes(known: Any, tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        main(["judge", str(known.path), "--slo", promise(tmp_path, "1s")])
        found.append((known.path / "verdicts.json").read_bytes())
    assert found[0] == found[1]


def test_without_promises_given_a_run_is_judged_by_its_own(known: Any) -> None:
    main(["judge", str(known.path)])
    judged_by = json.loads((known.path / "verdicts.json").read_text())["promises"]
    assert judged_by["slo"].startswith("slo.yaml (sha256 ")


def test_an_interrupted_run_is_never_called_met(known: Any, tmp_path: Path) -> None:
    known.write_run(replace(known.read_run(), interrupted=True))
    assert main(["judge", str(known.path), "--slo", promise(tmp_path, "1s")]) == 3


def test_a_judged_run_can_be_reported(
    known: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["judge", str(known.path), "--slo", promise(tmp_path, "1s")])
    capsys.readouterr()
    assert main(["report", str(known.path)]) == 0
    assert "report.html" in "".join(capsys.readouterr().out.split())
    for name in ("report.html", "junit.xml", "summary.md"):
        assert (known.path / name).stat().st_size > 0


def test_judging_ends_with_how_to_draw_the_pages(
    known: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = ["judge", str(known.path), "--slo", promise(tmp_path, "1s")]
    draw = f"harness report {os.path.relpath(known.path)}"
    main(judge)
    assert capsys.readouterr().out.endswith(f"\nnext: {draw}\n")
    main(["report", str(known.path)])
    capsys.readouterr()
    main(judge)
    assert capsys.readouterr().out.endswith(
        f"\npages of the earlier judgement removed; draw new ones with: {draw}\n"
    )


def test_without_a_price_book_a_run_is_judged_and_only_its_cost_is_not(
    known: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (known.path / "prices.yaml").unlink()
    monkeypatch.chdir(tmp_path)  # a folder without prices.yaml
    main(["judge", str(known.path)])
    document = json.loads((known.path / "verdicts.json").read_text())
    assert document["promises"]["prices"] == "no prices.yaml was given"
    found = {v["objective"]["name"]: (v["status"], v["reason"]) for v in document["verdicts"]}
    assert found["cost_per_chat"] == (
        "inconclusive", "the cost cannot be checked: no prices.yaml was given",
    )  # fmt: skip
    assert found["cache_hit_rate"][0] == "met"
    assert main(["report", str(known.path)]) == 0
    assert (
        "cannot be recomputed: no prices.yaml was given"
        in (known.path / "report.html").read_text()
    )


def test_a_price_book_that_is_given_must_be_there(
    known: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["judge", str(known.path), "--prices", "gone.yaml"]) == 2
    assert capsys.readouterr().err == (
        "harness: --prices: there is no gone.yaml; give a price book that is there, or leave "
        "--prices out where nothing need be priced\n"
    )


@pytest.mark.parametrize(
    ("command", "what"),
    [
        pytest.param(
            ("run", "--host", "http://127.0.0.1:9", "--budget-usd", "1"), "--budget-usd",
            id="a budget",
        ),
        pytest.param(("benchmark",), "the embedded stack", id="the embedded stack"),
    ],
)  # fmt: skip
def test_what_needs_prices_says_so_and_names_the_option(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    what: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ("--scenarios", str(ROOT / "scenarios"), "--slo", str(ROOT / "slo.yaml"))
    assert main([*command, *given]) == 2
    assert capsys.readouterr().err == (
        f"harness: {what} needs prices, and there is no prices.yaml in this folder; give a price "
        "book with --prices\n"
    )
    assert list(tmp_path.iterdir()) == [], "nothing was begun"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(
            ("judge", "{tmp}/gone"),
            "harness: {tmp}/gone does not exist; give a run directory, such as reports/latest\n",
            id="no such folder",
        ),
        pytest.param(
            ("judge", "{tmp}"),
            "harness: {tmp} is not a run directory: it has no run.json\n",
            id="a folder that is no run",
        ),
        pytest.param(
            ("report", "{tmp}/gone"),
            "harness: {tmp}/gone does not exist; give a run directory, such as reports/latest\n",
            id="a report of nothing",
        ),
    ],
)
def test_what_is_no_run_is_said_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    assert main([a.replace("{tmp}", str(tmp_path)) for a in arguments]) == 2
    assert capsys.readouterr() == ("", sentence.replace("{tmp}", str(tmp_path)))


@pytest.mark.parametrize("command", [("run", "--host", "http://127.0.0.1:9"), ("benchmark",)])
def test_malformed_figures_are_refused_before_anything_is_asked_or_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    figures = tmp_path / "benchmarks/observability.json"
    figures.parent.mkdir()
    figures.write_text('{"benchmark": "observability"}')
    assert main([*command, "warm_cache", "--reports", str(tmp_path)]) == 2
    assert capsys.readouterr() == (
        "", f"harness: {figures}: measured_at: missing; it must be given\n",
    )  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == ["benchmarks"]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param((), id="no command"),
        pytest.param(("juggle",), id="an unknown command"),
        pytest.param(("run",), id="run without a host"),
        pytest.param(("benchmark", "--fault", "gremlins"), id="an unknown fault"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: harness" in capsys.readouterr().err


def test_the_help_teaches_the_commands_and_the_exit_codes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for word in ("benchmark", "run", "judge", "report", "stack", "exit codes:", "inconclusive"):
        assert word in text


def test_a_proxy_of_the_users_is_not_asked_for_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["judge", str(tmp_path)])
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "example.org,127.0.0.1,localhost"
