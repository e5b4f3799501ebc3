"""
The tools the LLM is offered.

Each is one pydantic model: its fields are the JSON schema the LLM reads, the validation of what
the LLM sends and the documentation. A call that does not fit is answered with what is wrong.
"""

from __future__ import annotations

import re
import shlex
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from target_app.agent.messages import Message
from target_app.sandbox import commands
from target_app.sandbox.commands import Output
from target_app.sandbox.paths import Opened

MAX_LINES = 10_000
REGEX_SPECIAL = re.compile(r"[.^$*+?{}\[\]()\\]")

PathText = Annotated[str, Field(max_length=4096)]
Lines = Annotated[int, Field(ge=1, le=MAX_LINES)]


class BadCallError(Exception):
    """The LLM asked for something that is no valid call; the message tells it why."""


class Tool(BaseModel):
    """Arguments of one tool call, and what to do with them."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: ClassVar[str]
    cache_type: ClassVar[Literal["content", "search"] | None] = None

    path: Annotated[PathText, Field(description="Relative to the root of the documents.")] = "."

    def run(self, opened: Opened, output: Output) -> None:
        """Do it; the path was opened already."""
        raise NotImplementedError

    def shown(self) -> str:
        """Show the call in shell notation, for people to read."""
        words = [self.name]
        for field, value in self.model_dump(exclude_defaults=True, exclude={"path"}).items():
            words.append(f"--{field}" if value is True else f"--{field}={shlex.quote(str(value))}")
        return " ".join([*words, shlex.quote(self.path)])


class Ls(Tool):
    """List the files and folders in a folder. Folders end with a slash."""

    name: ClassVar[str] = "ls"

    all: Annotated[bool, Field(description="Show names that begin with a dot too.")] = False
    long: Annotated[bool, Field(description="Show size in bytes and time of change.")] = False

    def run(self, opened: Opened, output: Output) -> None:
        """List the folder."""
        commands.ls(opened, output, hidden=self.all, details=self.long)


class Find(Tool):
    """Find files and folders by name, in a folder and everything beneath it."""

    name: ClassVar[str] = "find"
    cache_type: ClassVar[Literal["content", "search"] | None] = "search"

    name_pattern: Annotated[
        str, Field(min_length=1, max_length=255, description="Shell pattern, such as *.md")
    ] = "*"
    type: Annotated[
        Literal["f", "d"] | None, Field(description="f: files only, d: folders only.")
    ] = None

    def run(self, opened: Opened, output: Output) -> None:
        """Search the names."""
        commands.find(opened, output, name_pattern=self.name_pattern, kind=self.type)


class Grep(Tool):
    """
    Search the text of a file, or of all files in a folder. Answers path:line number:line.

    The pattern is a fixed string. With regex=true it may also be several fixed strings
    separated by |, any of which matches; no other regular expression is supported.
    """

    name: ClassVar[str] = "grep"
    cache_type: ClassVar[Literal["content", "search"] | None] = "search"

    pattern: Annotated[
        str, Field(min_length=1, max_length=500, description="The text to look for.")
    ]
    recursive: Annotated[bool, Field(description="Search subfolders too.")] = True
    ignore_case: Annotated[bool, Field(description="Take A and a for the same.")] = False
    regex: Annotated[bool, Field(description="Let | separate alternatives.")] = False

    @model_validator(mode="after")
    def _searchable(self) -> Grep:
        """Refuse what no line can match and every regular expression but alternation."""
        if "\n" in self.pattern or "\0" in self.pattern:
            msg = "pattern must be on one line"
            raise ValueError(msg)
        if self.regex and (REGEX_SPECIAL.search(self.pattern) or "" in self.literals):
            msg = (
                "with regex=true only fixed strings separated by | are supported, "
                "such as alpha|beta"
            )
            raise ValueError(msg)
        return self

    @property
    def literals(self) -> tuple[str, ...]:
        """The fixed strings any of which matches."""
        return tuple(self.pattern.split("|")) if self.regex else (self.pattern,)

    def run(self, opened: Opened, output: Output) -> None:
        """Search the text."""
        commands.grep(
            opened,
            output,
            literals=self.literals,
            ignore_case=self.ignore_case,
            recursive=self.recursive,
        )


class Cat(Tool):
    """Read a whole file."""

    name: ClassVar[str] = "cat"
    cache_type: ClassVar[Literal["content", "search"] | None] = "content"

    path: Annotated[PathText, Field(description="The file, relative to the root.")]

    def run(self, opened: Opened, output: Output) -> None:
        """Read the file."""
        commands.cat(opened, output)


class Head(Tool):
    """Read the first lines of a file."""

    name: ClassVar[str] = "head"
    cache_type: ClassVar[Literal["content", "search"] | None] = "content"

    path: Annotated[PathText, Field(description="The file, relative to the root.")]
    lines: Lines = 10

    def run(self, opened: Opened, output: Output) -> None:
        """Read the beginning."""
        commands.head(opened, output, lines=self.lines)


class Tail(Tool):
    """Read the last lines of a file."""

    name: ClassVar[str] = "tail"
    cache_type: ClassVar[Literal["content", "search"] | None] = "content"

    path: Annotated[PathText, Field(description="The file, relative to the root.")]
    lines: Lines = 10

    def run(self, opened: Opened, output: Output) -> None:
        """Read the end."""
        commands.tail(opened, output, lines=self.lines)


TOOLS: dict[str, type[Tool]] = {tool.name: tool for tool in (Ls, Find, Grep, Cat, Head, Tail)}


def parse_call(name: str, arguments: str) -> Tool:
    """Check a call the LLM made. Raises BadCallError, saying what to do better."""
    tool = TOOLS.get(name)
    if tool is None:
        msg = f"there is no tool {name[:64]!r}; the tools are {', '.join(TOOLS)}"
        raise BadCallError(msg)
    try:
        return tool.model_validate_json(arguments or "{}")
    except ValidationError as error:
        faults = "; ".join(
            ": ".join(filter(None, (".".join(map(str, fault["loc"])), fault["msg"])))
            for fault in error.errors(include_url=False, include_input=False)
        )
        msg = f"bad arguments for {name}: {faults}"
        raise BadCallError(msg) from None


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
    schema = tool.model_json_schema()
    for field in schema["properties"].values():
        field.pop("title", None)
    return {
        key: schema[key]
        for key in ("type", "properties", "required", "additionalProperties")
        if key in schema
    }
