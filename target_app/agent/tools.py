"""
The tools the LLM is offered.

Each is one pydantic model: its fields are the JSON schema the LLM reads, the validation of what
the LLM sends, the options of the command it becomes, and the documentation. A call that does not
fit is answered with what is wrong.
"""

from __future__ import annotations

import functools
import json
import shlex
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from target_app.agent.messages import Message
from target_app.sandbox.result import Command

CacheType = Literal["content", "search"]
"""What is remembered: contents of files, or what a search of a folder found."""

CACHE_TYPES: tuple[CacheType, ...] = get_args(CacheType)

REMEMBERED_CHARACTERS = 1000
"""Arguments longer than this are read anew each time, to bound what is held."""

MAX_LINES = 10_000
MAX_PREVIEW_LINES = 500

PathText = Annotated[str, Field(max_length=4096)]
FilePath = Annotated[PathText, Field(description="The file, relative to the root.")]
Lines = Annotated[int, Field(ge=1, le=MAX_LINES)]


def _on_one_line(value: str) -> str:
    """Refuse what no line can match."""
    if "\n" in value or "\0" in value:
        msg = "must be on one line"
        raise ValueError(msg)
    return value


OneLine = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_on_one_line)]


class BadCallError(Exception):
    """The LLM asked for something that is no valid call; the message tells it why."""


class Tool(BaseModel):
    """
    Arguments of one tool call.

    `cache_type` says which cache remembers the result. A `deep` result depends on everything
    beneath a folder, another one on the folder's own entries only.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: ClassVar[str]
    cache_type: ClassVar[CacheType] = "content"
    deep: ClassVar[bool] = True
    renamed: ClassVar[dict[str, str]] = {}
    """Fields whose option of the command has another name."""

    path: Annotated[PathText, Field(description="Relative to the root of the documents.")] = "."

    def command(self, path: str) -> Command:
        """Make the command this call stands for; `path` is the authorised spelling."""
        return Command(self.name, path, self.options)

    @cached_property
    def options(self) -> Mapping[str, Any]:
        """The options of the command."""
        return {
            self.renamed.get(field, field): getattr(self, field)
            for field in type(self).model_fields
            if field != "path"
        }

    @cached_property
    def fingerprint(self) -> str:
        """The tool and its options as a text that no other call has, its path left out."""
        return f"{self.name}\0{json.dumps(self.options)}"

    @cached_property
    def shown(self) -> str:
        """The call in shell notation, for people to read."""
        words = [self.name]
        for field, value in self.model_dump(exclude_defaults=True, exclude={"path"}).items():
            words.append(f"--{field}" if value is True else f"--{field}={shlex.quote(str(value))}")
        return " ".join([*words, shlex.quote(self.path)])


class Ls(Tool):
    """List the files and folders in a folder. Folders end with a slash."""

    name: ClassVar[str] = "ls"
    cache_type: ClassVar[CacheType] = "search"
    deep: ClassVar[bool] = False
    renamed: ClassVar[dict[str, str]] = {"all": "hidden", "long": "details"}

    all: Annotated[bool, Field(description="Show names that begin with a dot too.")] = False
    long: Annotated[bool, Field(description="Show size in bytes and time of change.")] = False


class Find(Tool):
    """Find files and folders by name, in a folder and everything beneath it."""

    name: ClassVar[str] = "find"
    cache_type: ClassVar[CacheType] = "search"
    renamed: ClassVar[dict[str, str]] = {"type": "kind"}

    name_pattern: Annotated[
        OneLine, Field(max_length=255, description="Shell pattern, such as *.md")
    ] = "*"
    type: Annotated[
        Literal["f", "d"] | None, Field(description="f: files only, d: folders only.")
    ] = None


class Grep(Tool):
    """
    Search the text of a file, or of all files in a folder. Answers path:line number:line.

    The pattern is a fixed string, or a regular expression with regex=true.
    """

    name: ClassVar[str] = "grep"
    cache_type: ClassVar[CacheType] = "search"

    pattern: Annotated[OneLine, Field(description="The text to look for.")]
    recursive: Annotated[bool, Field(description="Search subfolders too.")] = True
    ignore_case: Annotated[bool, Field(description="Take A and a for the same.")] = False
    regex: Annotated[
        bool, Field(description="The pattern is a regular expression in RE2 syntax.")
    ] = False


class Cat(Tool):
    """Read a whole file."""

    name: ClassVar[str] = "cat"

    path: FilePath


class Head(Tool):
    """Read the first lines of a file."""

    name: ClassVar[str] = "head"

    path: FilePath
    lines: Lines = 10


class Tail(Tool):
    """Read the last lines of a file."""

    name: ClassVar[str] = "tail"

    path: FilePath
    lines: Lines = 10


class Tree(Tool):
    """Show a folder and what is beneath it as an indented tree."""

    name: ClassVar[str] = "tree"
    cache_type: ClassVar[CacheType] = "search"

    max_depth: Annotated[int, Field(ge=1, le=20, description="Levels of folders shown.")] = 3


class Wc(Tool):
    """Count the lines, words and bytes of a file."""

    name: ClassVar[str] = "wc"

    path: FilePath
    lines_only: Annotated[bool, Field(description="Count the lines only.")] = False


class Preview(Tool):
    """Say what a file is (size, time of change) and show its first lines."""

    name: ClassVar[str] = "preview"

    path: FilePath
    lines: Annotated[int, Field(ge=1, le=MAX_PREVIEW_LINES)] = 100


class SmartRead(Tool):
    """
    Read a file in the way that suits its size.

    A small file is read whole, a large one is searched for the query, of a huge one the
    beginning and the end are read.
    """

    name: ClassVar[str] = "smart_read"

    path: FilePath
    query: Annotated[OneLine | None, Field(description="Text to look for in a large file.")] = None
    max_lines: Lines = 100


TOOLS: dict[str, type[Tool]] = {
    tool.name: tool for tool in (Ls, Find, Grep, Cat, Head, Tail, Tree, Wc, Preview, SmartRead)
}


def parse_call(name: str, arguments: str) -> Tool:
    """Check a call the LLM made. Raises BadCallError, saying what to do better."""
    # An answer from the cache takes less time than this, so good calls are remembered too.
    return (_remembered if len(arguments) <= REMEMBERED_CHARACTERS else _parse)(name, arguments)


def _parse(name: str, arguments: str) -> Tool:
    tool = TOOLS.get(name)
    if tool is None:
        msg = f"there is no tool {name[:64]!r}; the tools are {', '.join(TOOLS)}"
        raise BadCallError(msg)
    try:
        return tool.model_validate_json(arguments or "{}")
    except ValidationError as error:
        faults = "; ".join(
            ": ".join(filter(None, (".".join(map(str, fault["loc"]))[:64], fault["msg"][:200])))
            for fault in error.errors(include_url=False, include_input=False)[:8]
        )
        msg = f"bad arguments for {name}: {faults}"
        raise BadCallError(msg) from None


_remembered = functools.lru_cache(maxsize=1024)(_parse)


def offered() -> list[Message]:
    """Describe every tool as the chat completions API wants it described."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": " ".join((tool.__doc__ or "").split()),
                "parameters": _schema(tool),
            },
        }
        for tool in TOOLS.values()
    ]


def _schema(tool: type[Tool]) -> Message:
    """Leave out the titles, which cost tokens and say nothing, and the docstring, told already."""
    schema: dict[str, Any] = tool.model_json_schema()
    for field in schema["properties"].values():
        field.pop("title", None)
    return {
        key: schema[key]
        for key in ("type", "properties", "required", "additionalProperties")
        if key in schema
    }
