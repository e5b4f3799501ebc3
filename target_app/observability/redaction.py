"""What leaves the process is redacted here: secrets are hidden, then long texts are cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import re2  # type: ignore[import-untyped]

from target_app.observability.escapes import views
from target_app.observability.shapes import (
    EMAIL,
    HOME,
    NAME_CHARACTERS,
    SECRET,
    Shape,
    built_in,
    compiled,
    is_secret_name,
    of_operator,
    of_values,
)
from target_app.settings import Settings

CONTENT_CHARACTERS = 1000
"""How much of one text leaves the process."""

WITHHELD = "[not redacted: withheld]"
"""What is shown of a text that could not be redacted."""

LONG_CHARACTERS = 16_384
SCANNED_CHARACTERS = 65_536
"""What bounds a traceback in the log, and how far it is read at all."""

MAX_DEPTH = 12
MAX_ITEMS = 2000
MAX_CHARACTERS = 200_000
"""
How deep a value may be, how many parts it may have, and how many characters of them are read.

More is left out, and said so.
"""

_TAIL_CHARACTERS = 1024
"""
How far beyond the cut is looked.

A secret that begins before the cut and ends behind it is then seen at a length that has its shape.
"""
_WINDOW_CHARACTERS = CONTENT_CHARACTERS + _TAIL_CHARACTERS
_LABELS = ("name", "key", "Name", "Key")
"""Under which the name stands of what is under `value`."""

_RECENT_CHARACTERS = 1_000_000

_ENTRY_CHARACTERS = 200
"""What a remembered text takes besides its characters: many short ones take more than few long."""


class Redactor:
    """
    Hides e-mail addresses, keys, home directories, and what the operator's patterns find.

    For any thread. Texts seen lately are remembered, because the messages of a conversation are
    told again with every LLM call.
    """

    def __init__(self, patterns: Sequence[str] = (), secrets: Iterable[str] = ()) -> None:
        """
        Look for `patterns` (RE2 syntax) and for the values `secrets`, besides the known shapes.

        Raises ValueError for a bad pattern.
        """
        always = [*built_in(), *of_values(secrets)]
        own = list(of_operator(patterns))
        # One search for all that is known says of most texts that nothing is in them, and one for
        # each kind what is not. Patterns of the operator are searched one by one: they may not be
        # joined (flags, names of groups).
        self._first = [_any_of(always), *(_any_of([shape]) for shape in own)]
        kinds = [
            [shape for shape in always if shape.shown == kind] for kind in (SECRET, EMAIL, HOME)
        ]
        self._kinds = [
            (_any_of(kind), [(shape, compiled(shape.pattern)) for shape in kind])
            for kind in (*kinds, *([shape] for shape in own))
        ]
        self._recent = _Recent(_RECENT_CHARACTERS)

    def text(self, text: str) -> str:
        """Redact a text and cut it to CONTENT_CHARACTERS. Never raises."""
        try:
            if len(text) <= CONTENT_CHARACTERS:
                return self._recent.get(text) or self._recent.put(text, self._redacted(text))
            window = text[:_WINDOW_CHARACTERS]
            shown = self._recent.get(window)
            if shown is None:
                shown = self._recent.put(window, self._redacted(window, CONTENT_CHARACTERS))
        except Exception:  # noqa: BLE001 - whatever it is, the text must not get out
            return WITHHELD
        return f"{shown}... ({len(text)} characters)"

    def long_text(self, text: str) -> str:
        """
        Redact a text whose end says most, such as a traceback. Never raises.

        Up to LONG_CHARACTERS are kept, without the middle. Of what is beyond SCANNED_CHARACTERS,
        nothing is.
        """
        try:
            if len(text) <= SCANNED_CHARACTERS:
                shown = self._redacted(text)
            else:
                window = text[:SCANNED_CHARACTERS]
                shown = self._redacted(window, SCANNED_CHARACTERS - _TAIL_CHARACTERS)
        except Exception:  # noqa: BLE001 - as above
            return WITHHELD
        half = LONG_CHARACTERS // 2
        if len(shown) <= LONG_CHARACTERS:
            return shown
        # All secrets are hidden by now: a cut leaves no half of one.
        return f"{shown[:half]}... ({len(text)} characters) ...{shown[-half:]}"

    def value(self, value: Any) -> Any:
        """
        Redact a value made of what JSON knows, the keys too; anything else becomes its text.

        The result shares nothing with the value that could change. Never raises.
        """
        try:
            return self._value(value, MAX_DEPTH, _Left())
        except Exception:  # noqa: BLE001 - an odd object, or a mapping that changes meanwhile
            return WITHHELD

    def _value(self, value: Any, depth: int, left: _Left) -> Any:
        """Redact a value; `left` counts down what all of it may still have."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return self._number(value)
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            if depth == 0:
                return "[too deep]"
            is_named = isinstance(value, Mapping)
            return (self._mapping if is_named else self._list)(value, depth, left)
        text = value if isinstance(value, str) else _as_text(value)
        left.characters -= min(len(text), _WINDOW_CHARACTERS)
        return self.text(text)

    def _list(self, value: Any, depth: int, left: _Left) -> list[Any]:
        parts: list[Any] = []
        if _is_secret_pair(value):
            left.items -= 1
            return [self._value(value[0], depth - 1, left), SECRET]
        for part in value:
            if left.nothing:
                parts.append("[too many]")
                break
            left.items -= 1
            parts.append(self._value(part, depth - 1, left))
        return parts

    def _number(self, value: float) -> float | str:
        """Redact a number, in which only a pattern of the operator can find something."""
        if not -_MOST <= value < _MOST:
            # Not a number, or more than a span can hold, and perhaps than Python will write.
            return self.text(_as_text(value))
        if len(self._first) == 1 or isinstance(value, float):
            return value
        plain = str(value)
        shown = self.text(plain)
        return value if shown == plain else shown

    def _mapping(self, value: Any, depth: int, left: _Left) -> dict[str, Any]:
        parts: dict[str, Any] = {}
        numbers: dict[str, int] = {}
        label = next((value[key] for key in _LABELS if isinstance(value.get(key), str)), "")
        for name, part in value.items():
            if left.nothing:
                parts["..."] = "[too many]"
                break
            left.items -= 1
            plain = name if isinstance(name, str) else _as_text(name)
            left.characters -= min(len(plain), _WINDOW_CHARACTERS)
            first = shown = self.text(plain)
            while shown in parts:
                # Two names that look the same once they are redacted.
                numbers[first] = numbers.get(first, 1) + 1
                shown = f"{first} {numbers[first]}"
            called = label if plain.lower() == "value" and label else plain
            hidden = part is not None and _is_secret(called[-NAME_CHARACTERS:], part)
            parts[shown] = SECRET if hidden else self._value(part, depth - 1, left)
        return parts

    def _redacted(self, text: str, end: int | None = None) -> str:
        """
        Hide what is found in a text, and answer what was before the character `end` of it.

        What begins before `end` is hidden as a whole.
        """
        try:
            data = text.encode()
        except UnicodeEncodeError:
            # Half a character, which JSON can hold and no exporter can write.
            text = text.encode(errors="replace").decode()
            data = text.encode()
        found: list[tuple[int, int, str]] = []
        for view in views(data):
            if any(search.search(view.data) for search in self._first):
                found += [
                    (view.start_of(start), view.end_of(stop), shown)
                    for start, stop, shown in self._found(view.data)
                ]
        if not found:
            return text if end is None else text[:end]
        limit = len(data) if end is None else len(text[:end].encode())
        pieces = []
        at = 0
        for start, stop, shown in _joined(found):
            if start >= limit:
                break
            pieces += [data[at:start].decode(errors="replace"), shown]
            at = stop
        pieces.append(data[at:limit].decode(errors="replace"))
        return "".join(pieces)

    def _found(self, data: bytes) -> Iterator[tuple[int, int, str]]:
        """
        Find all that is to be hidden: start, end and what is shown instead.

        Each shape is looked for by itself, so that no secret is missed because it overlaps
        another.
        """
        here = (shapes for is_there, shapes in self._kinds if is_there.search(data))
        for shape, search in chain.from_iterable(here):
            at = 0
            while (match := search.search(data, at)) is not None:
                start, stop = match.span() if shape.whole else _span(match)
                found = data[start:stop]
                # What a match needs around it may belong to the next one. So may the end of what
                # was taken for a value: in `secret:\n  api_key: abc` it is the next name.
                at = max(stop - _secret_name_at_end(found), at + 1)
                if found and not _is_harmless(shape, found):
                    yield start, stop, shape.shown
                if at >= len(data):
                    break


@dataclass(slots=True)
class _Left:
    """What a value may still have."""

    items: int = MAX_ITEMS
    characters: int = MAX_CHARACTERS

    @property
    def nothing(self) -> bool:
        return self.items <= 0 or self.characters <= 0


class _Recent:
    """Texts seen lately and what they became: two generations, the older one dropped whole."""

    def __init__(self, limit_characters: int) -> None:
        self._limit = limit_characters
        self._held = 0
        self._new: dict[str, str] = {}
        self._old: dict[str, str] = {}

    def get(self, text: str) -> str | None:
        known = self._new.get(text)
        if known is None:
            known = self._old.get(text)
            if known is not None:
                self.put(text, known)
        return known

    def put(self, text: str, redacted: str) -> str:
        # Threads may do this at the same time: then a text is found out twice, no more.
        if self._held > self._limit:
            self._old, self._new, self._held = self._new, {}, 0
        self._new[text] = redacted
        self._held += len(text) + len(redacted) + _ENTRY_CHARACTERS
        return redacted


def make_redactor(settings: Settings) -> Redactor:
    """Make the redactor that the settings want, which knows the app's own secrets."""
    own = (
        settings.openai_api_key,
        settings.azure_openai_api_key,
        settings.langfuse_secret_key,
        settings.api_token,
    )
    return Redactor(
        settings.redact_patterns, [secret.get_secret_value() for secret in own if secret]
    )


_MOST = 2**63


def _any_of(shapes: Sequence[Shape]) -> re2._Regexp:
    joined = "|".join(f"(?:{shape.pattern})" for shape in shapes)
    return compiled(joined, groups=False)


def _span(match: re2._Match) -> tuple[int, int]:
    """Where the group is that took part in a match."""
    spans: Iterator[tuple[int, int]] = map(match.span, range(1, match.re.groups + 1))
    return next(span for span in spans if span[0] >= 0)


def _secret_name_at_end(found: bytes) -> int:
    """Answer how many bytes at the end hold the name of a secret; 0 when there is none."""
    name = found.rstrip(b"\"':= ")[-NAME_CHARACTERS:]
    is_one = is_secret_name(name.decode(errors="replace"))
    return min(len(found), 2 * NAME_CHARACTERS) if is_one else 0


def _is_harmless(shape: Shape, found: bytes) -> bool:
    return shape.harmless is not None and shape.harmless(found)


def _as_text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - the rest of the value can still be told
        return WITHHELD


def _is_secret(name: str, part: object) -> bool:
    """Whether a part is a secret by its name, unless it counts tokens or times the first."""
    if not is_secret_name(name):
        return False
    ending = name.lower()
    if ending.endswith("tokens"):
        if isinstance(part, Mapping):
            return False  # the names in it tell
        if isinstance(part, list | tuple):
            return not all(isinstance(one, int | float) for one in part)
    return not (isinstance(part, int | float) and ending.endswith(("token", "tokens")))


def _is_secret_pair(value: Any) -> bool:
    """Whether it is a name and a value, as of a header."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return False
    name, part = value
    return (
        isinstance(name, str) and isinstance(part, str) and is_secret_name(name[-NAME_CHARACTERS:])
    )


def _joined(found: Iterable[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    """Put what overlaps together, shown as the first of it is."""
    current: tuple[int, int, str] | None = None
    for start, stop, shown in sorted(found, key=lambda span: (span[0], -span[1])):
        if current is None:
            current = (start, stop, shown)
        elif start < current[1]:
            current = (current[0], max(current[1], stop), current[2])
        else:
            yield current
            current = (start, stop, shown)
    if current is not None:
        yield current
