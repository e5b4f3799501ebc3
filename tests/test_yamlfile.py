"""Every value is read strictly, and every error names file, line and field."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.yamlfile import Fields, YamlError, read_yaml


def read(folder: Path, text: str | bytes) -> Fields:
    path = folder / "f.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_yaml(path)


def sentence(folder: Path, text: str | bytes, use: Callable[[Fields], Any] = Fields.keys) -> str:
    with pytest.raises(YamlError) as caught:
        use(read(folder, text))
    return str(caught.value).replace(str(folder) + "/", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", "f.yaml: is empty", id="an empty file"),
        pytest.param("# later\n", "f.yaml: is empty", id="only a comment"),
        pytest.param("- 1\n", "f.yaml:1: must be a mapping of fields", id="a list on top"),
        pytest.param("text\n", "f.yaml:1: must be a mapping of fields", id="a text on top"),
        pytest.param(b"a: \xff\n", "f.yaml: is not UTF-8 text", id="not UTF-8"),
        pytest.param(
            "a: 1\n\tb: 2\n",
            "f.yaml:2: not valid YAML: found character '\\t' that cannot start any token",
            id="indented with a tab",
        ),
        pytest.param(
            "a: [1\nb: 2\n",
            "f.yaml:2: not valid YAML: expected ',' or ']', but got ':'",
            id="a bracket never closed",
        ),
        pytest.param(
            "a: 1\nb: \x07\n",
            "f.yaml:2: not valid YAML: a character that YAML forbids",
            id="a control character",
        ),
        pytest.param("a: 1\na: 2\n", "f.yaml:2: a: given twice; keep one", id="a key twice"),
        pytest.param(
            "a: 1\n[b]: 2\n", "f.yaml:2: the name of a field must be a text", id="a list as key"
        ),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, text: str | bytes, expected: str):
    assert sentence(tmp_path, text) == expected


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(YamlError) as caught:
        read_yaml(tmp_path / "no.yaml")

    assert str(caught.value) == f"{tmp_path}/no.yaml: cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("text", "use", "expected"),
    [
        pytest.param("b: 1", lambda f: f.text("a"), "a: missing; it must be given", id="missing"),
        pytest.param(
            "a:", lambda f: f.text("a"), "a: is empty; give a value or leave the field out",
            id="empty",
        ),
        pytest.param("a: [x]", lambda f: f.text("a"), "a: must be a single value", id="a list"),
        pytest.param("a: {b: 1}", lambda f: f.text("a"), "a: must be a single value", id="fields"),
        pytest.param("a: one", lambda f: f.number("a"), "a: 'one' is not a number", id="word"),
        pytest.param("a: nan", lambda f: f.number("a"), "a: 'nan' is not a number", id="nan"),
        pytest.param("a: inf", lambda f: f.number("a"), "a: 'inf' is not a number", id="infinity"),
        pytest.param(
            "a: -1", lambda f: f.number("a"), "a: -1 is negative; it must be zero or more",
            id="negative number",
        ),
        pytest.param(
            "a: 0", lambda f: f.whole("a", 1), "a: '0' is not a whole number of at least 1",
            id="zero events",
        ),
        pytest.param(
            "a: 1.5", lambda f: f.whole("a", 1), "a: '1.5' is not a whole number of at least 1",
            id="one and a half events",
        ),
        pytest.param(
            "a: yes", lambda f: f.flag("a", default=False), "a: 'yes' is neither true nor false",
            id="yes is no flag",
        ),
        pytest.param(
            "a: 5", lambda f: f.seconds("a"),
            "a: '5' is not a duration; write it like 5s, 250ms or 2m", id="no unit",
        ),
        pytest.param(
            "a: 5 days", lambda f: f.seconds("a"),
            "a: '5 days' is not a duration; write it like 5s, 250ms or 2m", id="an unknown unit",
        ),
        pytest.param(
            "a: -5s", lambda f: f.seconds("a"),
            "a: '-5s' is not a duration; write it like 5s, 250ms or 2m", id="negative duration",
        ),
        pytest.param(
            "a: 0.8", lambda f: f.share("a"),
            "a: '0.8' is not a percentage; write it like 80% or 99.5%", id="a fraction",
        ),
        pytest.param(
            "a: 101%", lambda f: f.share("a"),
            "a: '101%' is not a percentage; write it like 80% or 99.5%", id="more than all",
        ),
        pytest.param(
            "a: []", lambda f: f.texts("a"), "a: must be a text or a list of texts", id="no text"
        ),
        pytest.param(
            "a: [[x]]", lambda f: f.texts("a"), "a: must be a text or a list of texts",
            id="a list in a list",
        ),
        pytest.param("b: 1", lambda f: f.fields("a"), "a: missing; it must be given", id="no map"),
        pytest.param("a: 1", lambda f: f.fields("a"), "a: must be a mapping of fields", id="flat"),
        pytest.param("b: 1", lambda f: list(f.items("a")), "a: missing; it must be given",
                     id="no list"),
        pytest.param("a: {b: 1}", lambda f: list(f.items("a")), "a: must be a list", id="a map"),
        pytest.param(
            "a: [1]", lambda f: list(f.items("a")), "a[0]: must be a mapping of fields",
            id="a list of numbers",
        ),
        pytest.param(
            "a: {x: {y: z}}", lambda f: f.fields("a").fields("x").number("y"),
            "a.x.y: 'z' is not a number", id="deep inside",
        ),
        pytest.param(
            "a: {[x]: 1}", lambda f: f.fields("a"), "a: the name of a field must be a text",
            id="a list as key, inside",
        ),
        pytest.param(
            "c: 1", lambda f: f.only("a", "b"), "c: unknown key; known here: a, b", id="unknown"
        ),
    ],
)  # fmt: skip
def test_a_field_that_is_wrong(
    tmp_path: Path, text: str, use: Callable[[Fields], Any], expected: str
):
    assert sentence(tmp_path, text + "\n", use) == f"f.yaml:1: {expected}"


def test_an_error_names_the_line_of_its_field(tmp_path: Path):
    text = "first: 1\nlist:\n  - name: x\n    size: big\n"

    assert (
        sentence(tmp_path, text, lambda f: next(f.items("list")).number("size"))
        == "f.yaml:4: list[0].size: 'big' is not a number"
    )
    assert (
        sentence(tmp_path, text, lambda f: next(f.items("list")).text("colour"))
        == "f.yaml:3: list[0].colour: missing; it must be given"
    )


def test_values_as_people_write_them(tmp_path: Path):
    fields = read(
        tmp_path,
        "text: hello\nnumber: 0.002\nwhole: 12\nflag: True\none: x\nmany: [x, y]\nmap: {k: v}\n",
    )

    assert "text" in fields
    assert "other" not in fields
    assert fields.keys() == ("text", "number", "whole", "flag", "one", "many", "map")
    assert (fields.text("text"), fields.text("other", "default")) == ("hello", "default")
    assert fields.number("number") == 0.002
    assert (fields.whole("whole", 1), fields.whole("other", 7)) == (12, 7)
    assert fields.flag("flag", default=False) is True
    assert fields.flag("other", default=True) is True
    assert (fields.texts("one"), fields.texts("many")) == (("x",), ("x", "y"))
    assert fields.fields("map").text("k") == "v"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5.0), ("5 s", 5.0), ("700ms", 0.7), ("1.5ms", 0.0015), ("35us", 0.000035),
        ("2m", 120.0), ("2min", 120.0), ("0.5h", 1800.0), ("0s", 0.0),
    ],
)  # fmt: skip
def test_a_duration_is_the_number_that_was_written(tmp_path: Path, text: str, seconds: float):
    assert read(tmp_path, f"a: {text}\n").seconds("a") == seconds


@settings(deadline=None)
@given(milliseconds=st.integers(0, 10_000_000))
def test_a_duration_in_milliseconds_is_the_nearest_float(
    tmp_path_factory: pytest.TempPathFactory, milliseconds: int
):
    fields = read(tmp_path_factory.getbasetemp(), f"a: {milliseconds}ms\n")

    assert fields.seconds("a") == milliseconds / 1000


@settings(deadline=None)
@given(hundredths=st.integers(0, 10_000))
def test_a_percentage_is_the_nearest_fraction(
    tmp_path_factory: pytest.TempPathFactory, hundredths: int
):
    percent = f"{hundredths // 100}.{hundredths % 100:02}"

    fields = read(tmp_path_factory.getbasetemp(), f"a: {percent}%\n")

    assert fields.share("a") == hundredths / 10_000
