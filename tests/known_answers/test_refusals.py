"""What cannot be run is refused in one sentence, with exit code 2, before anything is sent."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main

HERE = Path(__file__).parent
OWN = ("--scenarios", str(HERE / "scenarios"), "--slo", str(HERE / "slo.yaml"))


@pytest.fixture
def refuse(
    workspace: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """Run a command in this process; it must refuse in one line, which this gives."""
    monkeypatch.chdir(workspace.path)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGHUP)}

    def run(*arguments: str) -> str:
        assert main(arguments) == 2
        said = capfd.readouterr()
        lines = [x for x in (said.out + said.err).splitlines() if not x.startswith("note:")]
        assert len(lines) == 1 + (said.out.count(" s  ")), lines
        assert lines[-1].startswith("harness: ")
        return lines[-1]

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        pytest.param({"metrics": "malformed"}, "/metrics: ", id="malformed metrics"),
        pytest.param({"metrics": "none"}, "/metrics answered 404", id="no metrics"),
    ],
)
def test_a_target_without_good_metrics_is_refused_before_any_request(
    refuse: Any,
    target: Any,
    chats: Callable[[str], int],
    told: dict[str, str],
    sentence: str,
) -> None:
    url = target(**told)
    refused = refuse("run", "--host", url, *OWN)
    assert sentence in refused
    assert chats(url) == 0
    assert not Path("reports").exists()


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        pytest.param("127.0.0.1:80", "is not an address; write it like http://", id="no scheme"),
        pytest.param(
            "ftp://127.0.0.1", "is not an address; write it like http://", id="another scheme"
        ),
        pytest.param("http://127.0.0.1:99999", "http://127.0.0.1:99999", id="no such port"),
    ],
)
def test_an_address_that_is_none_is_refused(refuse: Any, host: str, sentence: str) -> None:
    refused = refuse("run", "--host", host, *OWN)
    assert sentence in refused


def test_a_host_that_does_not_answer_is_named(refuse: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # taken, but nobody listens
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        refused = refuse("run", "--host", url, *OWN)
    assert f"{url}/metrics cannot be read" in refused


def test_a_host_that_does_not_answer_is_named_also_where_only_the_client_is_asked(
    refuse: Any, tmp_path: Path
) -> None:
    alone = tmp_path / "client.yaml"
    alone.write_text(
        "version: 1\nobjectives:\n  - {name: answered, says: Chats are answered., kind: ratio, "
        "at_least: 98%, witnesses: {client: ok}}\n"
    )
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        refused = refuse("run", "--host", url, *OWN[:2], "--slo", str(alone))
    assert f"the target {url} cannot be reached" in refused


@pytest.mark.parametrize(
    ("good", "bad", "sentence"),
    [
        pytest.param("at_least: 98%", "at_leest: 98%", ":10: objectives[0].at_leest", id="a key"),
        pytest.param(
            "at_most: 1s", "at_most: 1 parsec", ":22: objectives[1].at_most", id="a unit"
        ),
        pytest.param(
            "scenario: steady", "scenario: stedy", ":8: objectives[0].scenario", id="a scenario"
        ),
    ],
)
def test_a_wrong_promise_is_refused_with_file_line_and_field(
    refuse: Any, target: Any, chats: Any, tmp_path: Path, good: str, bad: str, sentence: str
) -> None:
    url = target()
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((HERE / "slo.yaml").read_text().replace(good, bad, 1))
    refused = refuse("run", "--host", url, *OWN[:2], "--slo", str(wrong))
    assert f"{wrong}{sentence}" in refused
    assert chats(url) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(("no_such",), "no scenario is named 'no_such'; known: steady", id="scenario"),
        pytest.param(("--slo", "gone.yaml"), "gone.yaml", id="slo.yaml"),
        pytest.param(("--prices", "gone.yaml"), "gone.yaml", id="prices.yaml"),
        pytest.param(("--scenarios", "gone"), "there is no scenario in gone", id="scenarios"),
    ],
)
def test_what_is_not_there_is_named(
    refuse: Any, target: Any, chats: Any, arguments: tuple[str, ...], sentence: str
) -> None:
    url = target()
    refused = refuse("run", "--host", url, *OWN, *arguments)
    assert sentence in refused
    assert chats(url) == 0


def test_a_scenario_whose_class_has_another_name_than_its_file_is_refused(
    refuse: Any, target: Any, chats: Any, tmp_path: Path
) -> None:
    url = target()
    folder = tmp_path / "misnamed"
    folder.mkdir()
    (folder / "slow.py").write_text((HERE / "scenarios/steady.py").read_text())
    slo = tmp_path / "any.yaml"
    slo.write_text((HERE / "slo.yaml").read_text().replace("scenario: steady", "scenario: slow"))
    refused = refuse("run", "--host", url, "--scenarios", str(folder), "--slo", str(slo))
    assert "slow.py: it declares Steady, so its window would be steady" in refused
    assert chats(url) == 0


def test_an_option_that_is_none_is_refused_before_anything_is_asked(
    target: Any, chats: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    url = target()
    with pytest.raises(SystemExit) as ended:
        main(("run", "--host", url, *OWN, "--duration", "30"))
    assert ended.value.code == 2
    assert (
        "argument --duration: '30' is not a duration; write it like 30s" in capfd.readouterr().err
    )
    assert chats(url) == 0
