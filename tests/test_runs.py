"""What is written can be read again; what is damaged is named by file and line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest

from harness.distribution import Distribution
from harness.model import Outcome, Part, Run, Sample, Window
from harness.runs import (
    Collection,
    HistogramKey,
    RunDirectory,
    RunError,
    Snapshot,
    WindowRecord,
    list_runs,
    new_run_id,
    open_run,
)

RUN = Run(
    id="20260921-100000-cafe",
    started=1.5,
    target="http://127.0.0.1:1",
    command="harness run",
    parts=(Part("LLM", real=False, description="simulated"),),
    versions={"harness": "1"},
    machine={"cpus": "2"},
    expected_windows=("warm",),
    ended=2.5,
    notes=("a note",),
)
RECORD = WindowRecord(
    Window("warm", ("warm",), 10.0, 20.0),
    arrivals="Poisson",
    open_loop=True,
    processes=2,
    planned=30,
    requests=29,
    warmup_requests=3,
    locust_requests=29,
    null_probes=(0.001, 0.002),
    cpu_share=0.5,
    notes=("late",),
)
SAMPLE = Sample(
    "warm", "chat", "ab", 10.0, 10.1, 11.0, Outcome.OK,
    first_token=10.5, http_status=200, input_tokens=5, output_tokens=6, llm_calls=2, tool_calls=1,
)  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "reports", RUN)


def test_everything_written_is_read_again(run: RunDirectory):
    key = HistogramKey("warm", "chat", Outcome.OK, "service_time")
    run.write_window(RECORD)
    run.append_samples("warm", [SAMPLE])
    run.append_samples("warm", [replace(SAMPLE, outcome=Outcome.TIMEOUT, detail="é")])
    run.write_histograms("warm", {key: Distribution([0.9])})
    run.write_snapshot("warm", "before", Snapshot(1.0, 0.02, 'a{b="é"} 1\n'))
    run.write_snapshot("warm", "after", Snapshot(2.0, 0.03, None, "refused"))
    run.write_observations("warm", [{"id": "1"}], Collection(True, 2, 1.5, duplicates=1))

    assert run.read_run() == RUN
    assert run.window_names() == ("warm",)
    assert run.read_window("warm") == RECORD
    assert run.read_samples("warm") == [
        SAMPLE, replace(SAMPLE, outcome=Outcome.TIMEOUT, detail="é"),
    ]  # fmt: skip
    histograms = run.read_histograms("warm")
    assert {k: d.encode() for k, d in histograms.items()} == {key: Distribution([0.9]).encode()}
    assert run.read_snapshot("warm", "before") == Snapshot(1.0, 0.02, 'a{b="é"} 1\n')
    assert run.read_snapshot("warm", "after") == Snapshot(2.0, 0.03, None, "refused")
    assert run.read_observations("warm") == (
        [{"id": "1"}], Collection(True, 2, 1.5, duplicates=1),
    )  # fmt: skip


def test_a_row_is_a_line_of_names_without_what_it_does_not_know(run: RunDirectory):
    bare = Sample("warm", "chat", "ab", 10.0, 10.1, 11.25, Outcome.OK)
    rejected = replace(bare, http_status=400, traced=False, detail='say "é"\n')
    run.append_samples("warm", [bare, rejected])

    assert (run.path / "windows/warm/samples.jsonl").read_text() == (
        '{"scenario":"warm","operation":"chat","trace_id":"ab","intended_start":10.0,"start":10.1,'
        '"end":11.25,"outcome":"ok"}\n'
        '{"scenario":"warm","operation":"chat","trace_id":"ab","intended_start":10.0,"start":10.1,'
        '"end":11.25,"outcome":"ok","http_status":400,"traced":false,'
        '"detail":"say \\"\\u00e9\\"\\n"}\n'
    )
    assert run.read_samples("warm") == [bare, rejected]


def test_every_field_of_a_row_is_kept_as_the_general_way_of_writing_keeps_it(run: RunDirectory):
    whole = replace(
        SAMPLE, scenario='a "b"\\', operation="c\u2028", trace_id="\x7f", end=1790000000.1234567,
        outcome=Outcome.BROKEN_STREAM, events=4, longest_gap=1e-7, traced=False, detail="it broke",
    )  # fmt: skip
    unlike_default = [f.name for f in fields(Sample) if getattr(whole, f.name) == f.default]
    assert unlike_default == [], "a field is missing from this example"
    run.append_samples("warm", [whole])

    (line,) = (run.path / "windows/warm/samples.jsonl").read_text().splitlines()
    assert json.loads(line) == asdict(whole)
    assert run.read_samples("warm") == [whole]


def test_rows_as_they_were_written_before_are_read(run: RunDirectory):
    path = run.path / "windows/warm/samples.jsonl"
    path.parent.mkdir(parents=True)
    old = asdict(SAMPLE)
    for later in ("events", "longest_gap", "traced"):
        del old[later]
    path.write_text(json.dumps(asdict(SAMPLE)) + "\n" + json.dumps(old) + "\n")

    assert run.read_samples("warm") == [SAMPLE, SAMPLE]


def test_histograms_as_they_were_written_before_are_read(run: RunDirectory):
    key = HistogramKey("warm", "chat", Outcome.OK, "service_time")
    run.write_histograms("warm", {key: Distribution([0.9])})
    path = run.path / "windows/warm/histograms.jsonl"
    old = json.loads(path.read_text())
    del old["clamped"]
    path.write_text(json.dumps(old) + "\n")

    assert run.read_histograms("warm")[key].encode() == Distribution([0.9]).encode()


OK_CHATS = HistogramKey("warm", "GET /a, b", Outcome.OK, "ttft")
TIMEOUTS = HistogramKey("warm", "chat", Outcome.TIMEOUT, "service_time")


def intervals_of(run: RunDirectory) -> list[tuple[int, HistogramKey, str]]:
    return [(second, key, d.hdr) for second, key, d in run.read_intervals("warm")]


def test_a_histogram_is_named_in_a_log_without_comma_space_or_further_slash():
    assert OK_CHATS.tag == "warm/GET%20%2Fa%2C%20b/ok/ttft"
    assert HistogramKey.of_tag(OK_CHATS.tag) == OK_CHATS
    for tag, problem in (
        ("A", "the tag 'A' does not name"),
        ("warm/chat/ok", "the tag 'warm/chat/ok' does not name"),
        ("warm/chat/lost/ttft", "'lost' is not a valid Outcome"),
    ):
        with pytest.raises(ValueError, match=problem):
            HistogramKey.of_tag(tag)


def test_seconds_are_there_as_soon_as_they_were_added(run: RunDirectory):
    run.append_intervals("warm", {12: {OK_CHATS: Distribution([0.1])}}, 10.7)
    run.append_intervals("warm", {}, 10.7)
    run.append_intervals("warm", {11: {OK_CHATS: Distribution([0.2])}}, 10.7)

    text = (run.path / "windows/warm/intervals.hlog").read_text()
    assert [line.split(",")[:4] for line in text.splitlines() if line.startswith("Tag=")] == [
        [f"Tag={OK_CHATS.tag}", "2.000", "1.000", "100.000"],
        [f"Tag={OK_CHATS.tag}", "1.000", "1.000", "200.000"],
    ]
    assert text.count("format version") == 1
    assert intervals_of(run) == [
        (12, OK_CHATS, Distribution([0.1]).hdr),
        (11, OK_CHATS, Distribution([0.2]).hdr),
    ]


def test_at_the_end_each_second_has_one_line_in_order_of_time(run: RunDirectory):
    run.append_intervals("warm", {12: {OK_CHATS: Distribution([0.1])}}, 10.7)
    run.append_intervals("warm", {8: {TIMEOUTS: Distribution([9.0])}}, 10.7)  # a wrong clock
    last = {
        13: {TIMEOUTS: Distribution([5000.0])},
        12: {TIMEOUTS: Distribution([7.0]), OK_CHATS: Distribution([0.3, 0.2])},
    }
    run.write_intervals("warm", last, 10.7)

    expected = [
        (8, TIMEOUTS, Distribution([9.0]).hdr),
        (12, OK_CHATS, Distribution([0.1, 0.2, 0.3]).hdr),
        (12, TIMEOUTS, Distribution([7.0]).hdr),
        (13, TIMEOUTS, Distribution([3600.0]).hdr),
    ]
    assert intervals_of(run) == expected
    text = (run.path / "windows/warm/intervals.hlog").read_text()
    assert text.count("BaseTime: 8.000") == text.count("BaseTime") == 1
    assert [p.name for p in (run.path / "windows/warm").iterdir()] == ["intervals.hlog"]

    run.write_intervals("warm", {}, 10.7)
    assert intervals_of(run) == expected
    assert [d.largest for _, _, d in run.read_intervals("warm")] == [9.0, 0.3, 7.0, 3600.0]


def test_a_window_of_which_no_second_was_kept(run: RunDirectory):
    assert intervals_of(run) == []
    run.write_intervals("warm", {}, 10.7)
    assert intervals_of(run) == []


def test_a_damaged_log_of_seconds_is_named(run: RunDirectory):
    run.append_intervals("warm", {12: {OK_CHATS: Distribution([0.1])}}, 10.7)
    path = run.path / "windows/warm/intervals.hlog"
    text = path.read_text()
    for damaged, problem in (
        (text.replace("1.000", "one"), "line 5 is not one of a histogram log"),
        (text.replace("HISTFAAAA", "HISTFBBBB"), "not an HDR histogram: "),
        (text.replace("/ttft", ""), "does not name scenario, operation, outcome and time"),
    ):
        path.write_text(damaged)
        with pytest.raises(RunError, match=r"windows/warm/intervals\.hlog is damaged") as caught:
            intervals_of(run)
        assert problem in str(caught.value)


def test_what_was_never_written(run: RunDirectory):
    assert run.window_names() == ()
    assert run.read_samples("warm") == []
    assert run.read_histograms("warm") == {}
    assert run.read_snapshot("warm", "before") is None
    assert run.read_observations("warm") == ([], None)
    with pytest.raises(RunError, match=f"{run.path} has no window 'warm'"):
        run.read_window("warm")


def test_windows_come_in_the_order_they_were_opened(run: RunDirectory):
    for name, start in (("a", 30.0), ("b", 10.0), ("c", 20.0)):
        run.write_window(replace(RECORD, window=Window(name, (name,), start, start + 5)))

    assert run.window_names() == ("b", "c", "a")


def test_notes_are_added_once(run: RunDirectory):
    run.note("slow", "a note")
    run.note("slow")

    assert run.read_run().notes == ("a note", "slow")


def test_latest_points_to_the_newest_run(tmp_path: Path):
    for run_id in ("20260921-100000-aaaa", "20260921-100001-bbbb"):
        run = RunDirectory.create(tmp_path, replace(RUN, id=run_id))
        run.write_window(RECORD)
    RunDirectory.create(tmp_path, replace(RUN, id="20260921-100002-cccc"))  # never sent anything

    assert open_run(tmp_path / "latest").path == tmp_path / "20260921-100001-bbbb"
    assert open_run(tmp_path / "latest").read_run().id == "20260921-100001-bbbb"
    assert open_run(tmp_path / "latest").logs.is_dir()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "20260921-100000-aaaa", "20260921-100001-bbbb", "20260921-100002-cccc", "latest",
    ]  # fmt: skip


def test_runs_are_listed_oldest_first(tmp_path: Path):
    for run_id in ("20260921-100001-bbbb", "20260921-100000-aaaa"):
        RunDirectory.create(tmp_path, replace(RUN, id=run_id))
    (tmp_path / "20260921-100002-cccc").mkdir()  # without run.json
    RunDirectory.create(tmp_path, replace(RUN, id="mine"))

    assert list_runs(tmp_path) == ["20260921-100000-aaaa", "20260921-100001-bbbb"]
    assert list_runs(tmp_path / "nowhere") == []


def test_a_run_is_never_overwritten(run: RunDirectory):
    with pytest.raises(FileExistsError):
        RunDirectory.create(run.path.parent, RUN)


def test_ids_sort_by_time_and_differ():
    ids = {new_run_id(1_790_000_000.0) for _ in range(20)}

    assert {i[:16] for i in ids} == {"20260921-141320-"}
    assert len(ids) > 1


def test_a_path_without_a_run(tmp_path: Path):
    with pytest.raises(RunError) as caught:
        open_run(tmp_path / "latest")
    assert str(caught.value) == (
        f"{tmp_path}/latest does not exist; give a run directory, such as reports/latest"
    )

    with pytest.raises(RunError) as caught:
        open_run(tmp_path)
    assert str(caught.value) == f"{tmp_path} is not a run directory: it has no run.json"


def line(**changes: Any) -> str:
    fields = {
        "scenario": "warm", "operation": "chat", "trace_id": "ab", "intended_start": 1.0,
        "start": 1.0, "end": 2.0, "outcome": "ok",
    }  # fmt: skip
    return json.dumps({**fields, **changes}) + "\n"


def test_a_last_line_cut_short_by_a_crash_is_left_out(run: RunDirectory):
    path = run.path / "windows/warm/samples.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(line() + line()[:30])

    assert [s.end for s in run.read_samples("warm")] == [2.0]


@pytest.mark.parametrize(
    ("file", "content", "read", "problem"),
    [
        pytest.param("run.json", "{", RunDirectory.read_run,
                     "run.json is damaged: Expecting property name enclosed in double quotes: "
                     "line 1 column 2 (char 1)", id="a run cut off"),
        pytest.param("run.json", "5", RunDirectory.read_run,
                     "run.json is damaged: 'int' object is not iterable", id="a run of a number"),
        pytest.param("run.json", '{"format": 2}', RunDirectory.read_run,
                     "run.json is of another format than 1", id="a run of another format"),
        pytest.param("run.json", '{"format": 1}', RunDirectory.read_run,
                     "run.json is damaged: it has no 'parts'", id="a run without fields"),
        pytest.param("windows/warm/window.json", '{"window": 3}',
                     lambda r: r.read_window("warm"), "windows/warm/window.json is damaged: "
                     "'int' object is not subscriptable", id="a window of a number"),
        pytest.param("windows/warm/window.json",
                     '{"window": {"name": "warm", "scenarios": [], "start": 2, "end": 1}, '
                     '"null_probes": [], "notes": []}',
                     lambda r: r.read_window("warm"), "windows/warm/window.json is damaged: empty "
                     "window warm: start 2 is not before end 1", id="a window that ends first"),
        pytest.param("windows/warm/samples.jsonl", line() + line()[:30] + "\n" + line(),
                     lambda r: r.read_samples("warm"),
                     "windows/warm/samples.jsonl:2 is damaged: Invalid control character at: "
                     "line 1 column 31 (char 30)", id="a line cut off in the middle"),
        pytest.param("windows/warm/samples.jsonl", line() + line(outcome="lost"),
                     lambda r: r.read_samples("warm"), "windows/warm/samples.jsonl:2 is damaged: "
                     "'lost' is not a valid Outcome", id="an outcome that is none"),
        pytest.param("windows/warm/samples.jsonl", "{}\n" + line(),
                     lambda r: r.read_samples("warm"), "windows/warm/samples.jsonl:1 is damaged: "
                     "it has no 'outcome'", id="a sample without fields"),
        pytest.param("windows/warm/samples.jsonl", line(colour="red"),
                     lambda r: r.read_samples("warm"), "windows/warm/samples.jsonl:1 is damaged: "
                     "Sample.__init__() got an unexpected keyword argument 'colour'",
                     id="a sample with a field too many"),
        pytest.param("windows/warm/samples.jsonl", b"\xff\n" + line().encode(),
                     lambda r: r.read_samples("warm"), "windows/warm/samples.jsonl:1 is damaged: "
                     "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
                     id="a line that is not UTF-8"),
        pytest.param("windows/warm/histograms.jsonl",
                     json.dumps({"scenario": "warm", "operation": "chat", "outcome": "ok",
                                 "time": "ttft", **Distribution([1.0]).encode(), "count": 2})
                     + "\n",
                     lambda r: r.read_histograms("warm"), "windows/warm/histograms.jsonl:1 is "
                     "damaged: histogram of 1 values says it holds 2", id="a wrong histogram"),
        pytest.param("windows/warm/langfuse.jsonl", "3\n",
                     lambda r: r.read_observations("warm"), "windows/warm/langfuse.jsonl:1 is "
                     "damaged: 'int' object is not iterable", id="an observation of a number"),
        pytest.param("windows/warm/langfuse.json", '{"polls": 1}',
                     lambda r: r.read_observations("warm"), "windows/warm/langfuse.json is "
                     "damaged: Collection.__init__() missing 2 required positional arguments: "
                     "'complete' and 'seconds'", id="a collection without fields"),
        pytest.param("windows/warm/metrics-before.json", "{}",
                     lambda r: r.read_snapshot("warm", "before"), "windows/warm/metrics-before"
                     ".json is damaged: Snapshot.__init__() missing 2 required positional "
                     "arguments: 'at' and 'seconds'", id="a scrape without fields"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(
    run: RunDirectory,
    file: str,
    content: str | bytes,
    read: Callable[[RunDirectory], object],
    problem: str,
):
    path = run.path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(RunError) as caught:
        read(run)

    assert str(caught.value) == f"{run.path}/{problem}"
