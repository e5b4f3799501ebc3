"""Attacks by tool calls, as data: what the LLM is made to ask for, and what must come of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from target_app.agent.messages import ToolCall
from target_app.agent.tools import offered

Block = Literal["path_traversal", "command_not_allowed", "file_too_large"]

ELSEWHERE = "<elsewhere>"
"""Stands for the folder that only an absolute path reaches, wherever it is in this run."""

SCHEMAS: dict[str, dict[str, Any]] = {
    tool["function"]["name"]: tool["function"]["parameters"] for tool in offered()
}
TOOLS = tuple(SCHEMAS)
NEEDED = {"path": "readme.md", "pattern": "alpha"}


@dataclass(frozen=True, slots=True)
class Attack:
    """
    Calls to make, and what must come of each of them.

    `refused` is True when every call must fail, False when every one must succeed, None when
    both will do. `shows` is what every answer must be or, for a refusal, say.
    """

    id: str
    calls: tuple[tuple[str, str], ...]
    refused: bool | None = None
    blocks: Mapping[str, int] = field(default_factory=dict)
    shows: str | None = None

    def tool_calls(self, elsewhere: str) -> list[ToolCall]:
        return [
            ToolCall(f"call-{number}", name, arguments.replace(ELSEWHERE, elsewhere))
            for number, (name, arguments) in enumerate(self.calls)
        ]


def valid(tool: str, **changes: Any) -> tuple[str, str]:
    """A call with all that the tool needs, but for the changes."""
    needed = {name: NEEDED[name] for name in SCHEMAS[tool].get("required", ())}
    return tool, json.dumps({**needed, **changes})


def fields(*types: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every field of every tool that takes one of these types: tool, name, schema."""
    for tool, schema in SCHEMAS.items():
        for name, what in schema["properties"].items():
            for one in what.get("anyOf", [what]):
                if one.get("type") in types:
                    yield tool, name, one


# Paths, each of them tried with every tool.

LEAVING = {
    "the folder above": "..",
    "a file above": "../secret.txt",
    "a file above by way of a folder": "teams/../../secret.txt",
    "dots and slashes": ".//./teams//..//.//..//secret.txt",
    "up from a file": "readme.md/../../secret.txt",
    "up from a pipe": "pipes/queue/../../../secret.txt",
    "up from what is not there": "nothing/../../secret.txt",
    "up from a folder that looks like a glob": "x*/../../secret.txt",
    "up from a glob": "?*/../../../etc/passwd",
    "up and back in": "../documents/readme.md",
    "far up": "../" * 60 + "etc/passwd",
    "dots at the end": "teams/..",
    "an absolute path": f"{ELSEWHERE}/secret.txt",
    "an absolute path with two slashes": f"/{ELSEWHERE}/secret.txt",
    "the users of the machine": "/etc/passwd",
    "the environment by its absolute path": "/proc/self/environ",
    "the working folder by its absolute path": "/proc/self/cwd",
    "a descriptor by its absolute path": "/dev/fd/0",
    "standard input by its absolute path": "/dev/stdin",
    "the root of the file system": "/",
    "a link to a file outside": "links/out-file",
    "an absolute link to a file outside": "links/out-absolute",
    "a link to a folder outside": "links/out-folder",
    "a file behind a link to a folder outside": "links/out-folder/secret.txt",
    "a link in the middle of a path": "teams/way/inner/secret.txt",
    "a link to the folder above": "links/up/secret.txt",
    "a link to the root of the file system": "links/to-slash/etc/passwd",
    "a link to /proc/self": "links/proc/environ",
    "a magic link behind a link": "links/proc/cwd/secret.txt",
    "a link to the environment": "links/environment",
    "a link to standard input": "links/stdin",
    "a chain of links": "links/chain-1",
    "a link to a name outside that is not there": "links/dangling-out",
    "a folder beside the root whose name begins like it": "links/beside-by-prefix/secret.txt",
    "a NUL after a name": "readme.md\0",
    "a NUL before an ending": "../secret.txt\0.md",
}

REFUSED = {
    "a link that stays inside": "links/inner",
    "a file behind a link that stays inside": "links/inner-folder/blue.txt",
    "an absolute link to the root": "links/to-root/readme.md",
    "a link to itself": "links/loop",
    "a pipe": "pipes/queue",
    "a pipe as a folder": "pipes/queue/secret.txt",
    "a socket": "pipes/socket",
    "a device": "pipes/zeros",
}

ABSENT = {
    "a home folder": "~root/secret.txt",
    "backslashes": "..\\..\\secret.txt",
    "a drive": "C:\\secret.txt",
    "a network share": "\\\\host\\share\\secret.txt",
    "an address": "file:///etc/passwd",
    "a variable": "${OPENAI_API_KEY}",
    "a command in back quotes": "`id`",
    "a command in a substitution": "$(id)",
    "escaped dots": "%2e%2e/secret.txt",
    "escaped dots and slashes": "%2e%2e%2fsecret.txt",
    "dots escaped twice": "%252e%252e%252fsecret.txt",
    "a full-width slash": "..\uff0fsecret.txt",
    "a division slash": "..\u2215secret.txt",
    "a two-dot leader": "\u2025/secret.txt",
    "dots with a zero-width space": "..\u200b/secret.txt",
    "dots with a space": ".. /secret.txt",
    "dots with a carriage return": "..\r/secret.txt",
    "dots with a line break": "..\n/secret.txt",
    "three dots": ".../secret.txt",
    "a brace expansion": "{readme.md,../secret.txt}",
    "a glob": "*.md",
    "a file as a folder": "readme.md/secret.txt",
    "a template": "{{ 7 * 7 }}",
    "a format string": "%s%s%n{0.__class__}",
    "a name of 256 bytes": "n" * 256,
    "a name of 255 letters of three bytes": "\u20ac" * 255,
    "a path of 4,096 letters": "n/" * 2048,
    "a name with an escape sequence": "\x1b]0;owned\x07\x1b[2J",
}

OPTIONS = (
    "-delete",
    "-exec",
    "-fprintf",
    "-L",
    "-LR",
    "-R",
    "-rf",
    "-",
    "--",
    "-f../secret.txt",
    "-e.",
    "--help",
    "--files0-from=-",
    "--files0-from=/proc/self/environ",
    "--files0-from=../secret.txt",
    "--exclude-from=/etc/passwd",
    "--include-from=../secret.txt",
    "--dereference-recursive",
    "--file=../secret.txt",
    "1p;1e id #?",
    "r ../secret.txt",
    "w ../written.txt",
    "s/.*/id/e",
    "; id;",
    "| id",
    "& id &",
    "> written.txt",
    "< ../secret.txt",
    "$(id)",
    "`id`",
    "${OPENAI_API_KEY}",
    "\nid\n",
    "__import__('os').environ",
    "{0.__class__.__mro__}",
    "{{config}}",
    "%s%x%n",
    "'; DROP TABLE results; --",
    "\x1b[2J\x1b]0;owned\x07",
    "../secret.txt",
    f"{ELSEWHERE}/secret.txt",
)
"""Texts that some shell, option parser, editor, template or database would obey."""


def _paths() -> Iterator[Attack]:
    for tool in TOOLS:
        for what, paths in (
            ("that lead out", LEAVING),
            ("of links, pipes and devices", REFUSED),
            ("at which nothing is", ABSENT),
        ):
            calls = tuple(valid(tool, path=path) for path in paths.values())
            blocks = {"path_traversal": len(calls) if paths is LEAVING else 0}
            yield Attack(f"{tool} of paths {what}", calls, refused=True, blocks=blocks)


def _injections() -> Iterator[Attack]:
    for tool, name, what in fields("string"):
        if "enum" not in what:
            calls = tuple(valid(tool, **{name: text}) for text in OPTIONS)
            leaving = [text for text in OPTIONS if text.startswith(("../", ELSEWHERE))]
            blocks = {"path_traversal": len(leaving) if name == "path" else 0}
            yield Attack(f"texts that others obey as the {name} of {tool}", calls, blocks=blocks)


# What is no valid call at all.

_HUGE = str(10**30)
_WRONG = {
    "string": ("true", "1", "1.5", "[]", "{}", '["readme.md"]', '{"path": "readme.md"}', "NaN"),
    "integer": ("true", "1.5", "1e2", '"5"', "0", "-1", _HUGE, f"-{_HUGE}", "1e400", "[]", "{}"),
    "boolean": ("0", "1", '"true"', '"yes"', "1.0", "[]", "{}", '"--help"'),
}


def _wrong_types() -> Iterator[Attack]:
    for kind, values in _WRONG.items():
        calls = tuple(
            (tool, _with(tool, name, value)) for tool, name, _ in fields(kind) for value in values
        )
        yield Attack(f"something else where a {kind} is wanted", calls, refused=True)
    optional = {(tool, name) for tool, name, _ in fields("null")}
    calls = tuple(
        (tool, _with(tool, name, "null"))
        for tool, name, _ in fields("string", "integer", "boolean")
        if (tool, name) not in optional
    )
    yield Attack("null where something is wanted", calls, refused=True)


def _with(tool: str, name: str, value: str) -> str:
    """JSON text of a valid call, one field of it written as it is."""
    return valid(tool, **{name: "<here>"})[1].replace('"<here>"', value)


_PATH = '"path": "readme.md"'
_MALFORMED = {
    "nothing but white space": " ",
    "no JSON": "readme.md",
    "half a JSON object": '{"path": "readme.md"',
    "something after the JSON object": f"{{{_PATH}}} {{}}",
    "a list": '["readme.md"]',
    "a text": '"readme.md"',
    "a number": "1",
    "null": "null",
    "single quotes": "{'path': 'readme.md'}",
    "a comment": f"{{{_PATH}}} // comment",
    "a field too many": f'{{{_PATH}, "pattern": "alpha", "shell": true}}',
    "a field of Python": f'{{{_PATH}, "pattern": "alpha", "__class__": "os"}}',
    "a field of pydantic": f'{{{_PATH}, "pattern": "alpha", "model_config": {{}}}}',
    "a field of the class": f'{{{_PATH}, "pattern": "alpha", "cache_type": null, "name": "cat"}}',
    "fields in capitals": '{"PATH": "readme.md", "PATTERN": "alpha"}',
    "deeply nested lists": '{"path": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "deeply nested objects": '{"path":' * 50_000 + "1" + "}" * 50_000,
    "a lone surrogate": '{"path": "\\ud800", "pattern": "alpha"}',
    "bytes of an overlong dot": '{"path": "\\udcc0\\udcae/secret.txt", "pattern": "alpha"}',
    "a surrogate that was decoded": '{"path": "\ud800", "pattern": "alpha"}',
    "a byte order mark": f'\ufeff{{{_PATH}, "pattern": "alpha"}}',
    "a path of 5,000 letters": f'{{"path": "{"n" * 5000}", "pattern": "alpha"}}',
    "a path of 1 MB": f'{{"path": "{"n" * 1_000_000}", "pattern": "alpha"}}',
    "10,000 fields": "{" + ", ".join(f'"f{n}": {n}' for n in range(10_000)) + "}",
}

NAMES = (
    "sed", "awk", "sh", "bash", "python", "rm", "../grep", "/bin/cat", "cat ", " cat", "CAT",
    "cat\0", "cat;id", "cat\nls", "__class__", "__init__", "run", "scan", "model_dump", "smart_cat",
    "gr\u0435p", "\ud800", "", "\x1b[31mcat", "n" * 100_000, "cat -n", "None", "tools.cat",
)  # fmt: skip
"""Names of tools that there are not; one of them has a Cyrillic letter."""


def _others() -> Iterator[Attack]:
    yield Attack(
        "names of tools that there are not",
        tuple((name, '{"path": "../secret.txt"}') for name in NAMES),
        refused=True,
        blocks={"command_not_allowed": len(NAMES)},
    )
    twice = '{"path": "readme.md", "pattern": "alpha", "path": "../secret.txt"}'
    yield Attack(
        "a field that is given twice, the second time badly",
        (("grep", twice),),
        refused=True,
        blocks={"path_traversal": 1},
    )
    enums = tuple(
        valid(tool, **{name: text})
        for tool, name, what in fields("string")
        if "enum" in what
        for text in (*OPTIONS, "F", "f ", "fd", "l", "")
    )
    yield Attack("texts that are none of those allowed", enums, refused=True)
    yield Attack(
        "patterns that are no text on one line",
        tuple(
            valid(tool, **{name: text})
            for tool, name, _ in fields("string")
            if name in {"pattern", "query"}
            for text in ("", "a\nb", "a\0b", "n" * 100_000)
        ),
        refused=True,
    )
    yield Attack(
        "name patterns of many stars, sets and braces",
        tuple(
            valid("find", path=".", name_pattern=text)
            for text in (
                "*a" * 127 + "b",
                "*" * 255,
                "[!a]" * 63,
                "[" * 255,
                "?*" * 127,
                "[a-z]*" * 40,
            )
        ),
    )
    for path in ("-delete", "--files0-from=-"):
        yield Attack(
            f"a file that is really called {path}",
            tuple(valid(tool, path=path) for tool in ("cat", "head", "tail")),
            refused=False,
            shows=f"a file that is called {path}",
        )
    yield Attack(
        "full-width dots that are a name",
        (valid("cat", path="\uff0e\uff0e/secret.txt"),),
        refused=False,
        shows="full-width dots are a name like any other",
    )
    yield Attack(
        # An operator made it: which other names a file has cannot be told from a descriptor.
        "a hard link, which is a file of the root like any other",
        (valid("cat", path="teams/hard.txt"),),
        refused=False,
        shows="shared on purpose",
    )
    for form, path in (("composed", "odd/caf\u00e9.txt"), ("decomposed", "odd/cafe\u0301.txt")):
        yield Attack(
            f"a name in {form} Unicode is not taken for its twin",
            (valid("cat", path=path),),
            refused=False,
            shows=form,
        )
    yield Attack(
        "a path with slashes and dots to spare",
        tuple(
            valid("cat", path=path)
            for path in ("./readme.md", ".//readme.md", "./" * 2000 + "readme.md")
        ),
        refused=False,
        shows="alpha\nbeta\ngamma",
    )
    yield Attack(
        "a search of everything meets links, pipes and devices and follows none",
        (
            valid("grep", path=".", pattern=".", regex=True),
            valid("grep", path="links", pattern=".", regex=True, ignore_case=True),
            valid("grep", path="pipes", pattern=".", regex=True),
            valid("find", path=".", name_pattern="*secret*"),
            valid("find", path=".", name_pattern="../*"),
            valid("find", path=".", name_pattern="*/../../*"),
            valid("find", path="links", type="d"),
            valid("find", path="links", type="f"),
            valid("tree", path=".", max_depth=20),
            valid("ls", path="links", all=True, long=True),
            valid("ls", path="pipes", all=True, long=True),
            valid("ls", path="odd", all=True, long=True),
        ),
        refused=False,
    )


def all_attacks() -> Iterable[Attack]:
    malformed = (
        Attack(f"arguments that are {what}", tuple((tool, text) for tool in TOOLS), refused=True)
        for what, text in _MALFORMED.items()
    )
    return (*_paths(), *_injections(), *malformed, *_wrong_types(), *_others())
