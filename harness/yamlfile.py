"""YAML whose errors name file, line and field: for people, not for parsers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import yaml

from harness.model import HarnessError

# Decimal, so that 700ms is 0.7 and falls on the same bucket bound as 0.7s.
_DURATION = {
    unit: Decimal(seconds)
    for unit, seconds in {
        "us": "0.000001", "ms": "0.001", "s": "1", "m": "60", "min": "60", "h": "3600",
    }.items()
}  # fmt: skip


class YamlError(HarnessError):
    """What is wrong in a YAML file, where, and how to mend it, in one sentence."""


class Fields:
    """One mapping of a YAML file, read field by field; every error names its line."""

    def __init__(self, path: Path, node: yaml.MappingNode, where: str = "") -> None:
        """Wrap a mapping node; `where` is its place in the file, such as objectives[2]."""
        self._path = path
        self._node = node
        self._where = where
        self._values: dict[str, yaml.Node] = {}
        self._lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                place = f"{where}: " if where else ""
                raise YamlError(f"{path}:{line}: {place}the name of a field must be a text")
            name = str(key.value)
            if name in self._values:
                raise YamlError(f"{path}:{line}: {self._at(name)}: given twice; keep one")
            self._values[name] = value
            self._lines[name] = line

    def _at(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key

    def __contains__(self, key: str) -> bool:
        """Whether the field is given."""
        return key in self._values

    def keys(self) -> tuple[str, ...]:
        """The fields given, in the file's order."""
        return tuple(self._values)

    def node(self, key: str) -> yaml.Node:
        """The YAML node of a field that is given."""
        return self._values[key]

    def error(self, key: str, problem: str) -> YamlError:
        """Make an error that names the file, the line of the field, and the field."""
        line = self._lines.get(key, self._node.start_mark.line + 1)
        return YamlError(f"{self._path}:{line}: {self._at(key)}: {problem}")

    def only(self, *known: str) -> None:
        """Refuse any field that is not known."""
        for key in self._values:
            if key not in known:
                raise self.error(key, f"unknown key; known here: {', '.join(known)}")

    def text(self, key: str, default: str | None = None) -> str:
        """Read a piece of text; without a default it must be there."""
        node = self._scalar(key)
        if node is None:
            if default is None:
                raise self.error(key, "missing; it must be given")
            return default
        if not node.value:
            raise self.error(key, "is empty; give a value or leave the field out")
        return str(node.value)

    def number(self, key: str, written: str | None = None) -> float:
        """
        Read a plain number that is not negative: nothing here is counted below zero.

        `written` is the part of the field's text that is the number, when not all of it is.
        """
        text = self.text(key) if written is None else written
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.error(key, f"{text!r} is not a number")
        if value < 0:
            raise self.error(key, f"{text} is negative; it must be zero or more")
        return value

    def whole(self, key: str, default: int) -> int:
        """Read a whole number of at least 1."""
        text = self.text(key, str(default))
        if not re.fullmatch(r"[1-9][0-9]*", text):
            raise self.error(key, f"{text!r} is not a whole number of at least 1")
        return int(text)

    def flag(self, key: str, *, default: bool) -> bool:
        """Read true or false."""
        text = self.text(key, "true" if default else "false").lower()
        if text not in ("true", "false"):
            raise self.error(key, f"{text!r} is neither true nor false")
        return text == "true"

    def seconds(self, key: str, default: str | None = None) -> float:
        """Read a duration as people write it, such as 5s, 250ms or 2m, in seconds."""
        text = self.text(key, default)
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)", text)
        if match is None or match[2] not in _DURATION:
            raise self.error(key, f"{text!r} is not a duration; write it like 5s, 250ms or 2m")
        return float(Decimal(match[1]) * _DURATION[match[2]])

    def share(self, key: str, default: str | None = None) -> float:
        """Read a percentage as people write it, such as 99.5%, as a fraction."""
        text = self.text(key, default)
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*%", text)
        if match is None or float(match[1]) > 100:
            raise self.error(key, f"{text!r} is not a percentage; write it like 80% or 99.5%")
        return float(Decimal(match[1]) / 100)

    def texts(self, key: str) -> tuple[str, ...]:
        """Read one piece of text or a list of them."""
        node = self._values.get(key)
        if isinstance(node, yaml.SequenceNode):
            if not all(isinstance(n, yaml.ScalarNode) for n in node.value) or not node.value:
                raise self.error(key, "must be a text or a list of texts")
            return tuple(str(n.value) for n in node.value)
        return (self.text(key),)

    def fields(self, key: str) -> Fields:
        """Read a mapping."""
        node = self._values.get(key)
        if node is None:
            raise self.error(key, "missing; it must be given")
        if not isinstance(node, yaml.MappingNode):
            raise self.error(key, "must be a mapping of fields")
        return Fields(self._path, node, self._at(key))

    def items(self, key: str) -> Iterator[Fields]:
        """Read a list of mappings."""
        node = self._values.get(key)
        if node is None:
            raise self.error(key, "missing; it must be given")
        if not isinstance(node, yaml.SequenceNode):
            raise self.error(key, "must be a list")
        for number, item in enumerate(node.value):
            where = f"{self._at(key)}[{number}]"
            if not isinstance(item, yaml.MappingNode):
                line = item.start_mark.line + 1
                raise YamlError(f"{self._path}:{line}: {where}: must be a mapping of fields")
            yield Fields(self._path, item, where)

    def _scalar(self, key: str) -> yaml.ScalarNode | None:
        node = self._values.get(key)
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode):
            raise self.error(key, "must be a single value")
        return node


def read_yaml(path: Path) -> Fields:
    """Read a YAML file whose top is a mapping; raises YamlError for all that is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise YamlError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise YamlError(f"{path}: is not UTF-8 text") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise YamlError(f"{path}:{line}: not valid YAML: {error.problem}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(f"{path}:{line}: not valid YAML: a character that YAML forbids") from error
    except RecursionError as error:
        raise YamlError(f"{path}: is nested too deeply") from error
    if node is None:
        raise YamlError(f"{path}: is empty")
    if not isinstance(node, yaml.MappingNode):
        raise YamlError(f"{path}:1: must be a mapping of fields")
    return Fields(path, node)
