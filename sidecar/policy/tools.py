# SPDX-License-Identifier: Apache-2.0
"""``tools.yaml``: what each tool can do, which arguments it takes, what of them may be shown.

Laws:

1. A tool's class comes from here alone, never from the caller.
2. An argument is written in clear to the log only if ``reveal`` names it.
3. A network tool names the one required string argument that says where it goes.
4. A tool with an argument of format ``holdfast-path`` says below which directories (``path_roots``)
   it may name files; there is no default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from sidecar.documents import Document, DocumentErrors, did_you_mean, short, validate_document
from sidecar.errors import DocumentError
from sidecar.model import ToolClass, ToolName
from sidecar.policy.arguments import (
    NO_ARGUMENTS,
    PATH_FORMAT,
    ArgumentProblem,
    ArgumentsValidator,
    check_schema,
    closed_schema,
    formats_of,
)
from sidecar.policy.fields import (
    DataClass,
    FileModel,
    PathRoot,
    Sentence,
    ToolNameField,
    Version,
)
from sidecar.policy.types import RecordType, visible_record

__all__ = ["DestinationKind", "DestinationSpec", "ToolSpec", "parse_tools"]

MAX_TOOLS = 2000
MAX_PATH_ROOTS = 64

DestinationKind = Literal["url", "host", "bare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationSpec:
    """Which argument says where a network tool goes, and how to read it.

    ``url``: an http(s) URL. ``host``: a host name or address alone, reached by https.
    ``bare``: ``host[/path]`` without a scheme, read as https; a URL with a scheme is taken too.
    """

    argument: str
    kind: DestinationKind = "url"
    is_resolved: bool = True
    """Whether the gate resolves the name and pins its addresses (``resolve`` in the file).

    False for a tool that does not dial by itself but hands the name to a proxy or a simulation:
    only the host rules apply then (an address literal must still be one that may be dialled), and
    DNS rebinding is the proxy's to prevent.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """One tool of the registry. Immutable."""

    name: ToolName
    tool_class: ToolClass
    description: str
    data_class: str
    arguments_schema: Mapping[str, Any]
    """The JSON Schema as it is enforced: every object closed, every integer bounded."""
    reveal: frozenset[str]
    destination: DestinationSpec | None
    allow_private_addresses: bool
    path_roots: tuple[str, ...]
    """Real directories of the gate's host below which arguments of format ``holdfast-path`` lie.

    The gate looks at the disk at every call; whoever only checks a bundle (``validate_arguments``,
    the bundle's tests) does not: it may not be the host on which the files are.
    """
    token_issuer: str | None
    visible: RecordType = field(repr=False)
    """What of the arguments a policy can see."""
    validator: ArgumentsValidator = field(repr=False, compare=False)
    undo: str = ""
    """How a call is undone, in words for whoever must decide about one; empty if nobody said."""

    def validate_arguments(self, arguments: object) -> ArgumentProblem | None:
        """Return why *arguments* do not fit this tool, or None if they do."""
        return self.validator.problem(arguments)


class _Destination(FileModel):
    argument: str
    kind: DestinationKind = "url"
    resolve: bool = True


class _Token(FileModel):
    issuer: str


class _Tool(FileModel):
    class_: Annotated[Literal["read", "write", "destructive", "external"], Field(alias="class")]
    description: Sentence = ""
    undo: Sentence = ""
    data_class: DataClass = "general"
    arguments: dict[str, Any] = Field(default_factory=lambda: dict(NO_ARGUMENTS))
    reveal: list[str] = Field(default_factory=list)
    destination: _Destination | None = None
    allow_private_addresses: bool = False
    path_roots: Annotated[list[PathRoot], Field(max_length=MAX_PATH_ROOTS)] | None = None
    token: _Token | None = None


class _ToolsFile(FileModel):
    version: Version
    tools: Annotated[dict[ToolNameField, _Tool], Field(max_length=MAX_TOOLS)]


def parse_tools(document: Document, problems: list[DocumentError]) -> Mapping[str, ToolSpec]:
    """Return the tools of *document*; what is wrong with one goes to *problems*."""
    try:
        parsed = dict(validate_document(document, _ToolsFile).tools)
    except DocumentErrors as exc:
        problems += exc.all
        parsed = _readable_tools(document.data.get("tools"))
    tools = {}
    for name, tool in parsed.items():
        before = len(problems)
        _check_tool(name, tool, document, problems)
        if len(problems) == before:
            tools[name] = _spec(name, tool)
    return MappingProxyType(tools)


def _readable_tools(entries: object) -> dict[str, _Tool]:
    """Return the tools that have the right form beside some that do not, to check those too."""
    tools = {}
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        try:
            tools[name] = _Tool.model_validate(entry)
        except ValidationError:
            continue  # reported already
    return tools


def _check_tool(name: str, tool: _Tool, document: Document, problems: list[DocumentError]) -> None:
    place = ("tools", name)

    def report(path: tuple[str | int, ...], message: str, hint: str) -> None:
        problems.append(document.error((*place, "arguments", *path), message, hint=hint))

    if not check_schema(tool.arguments, report):
        return
    properties: Mapping[str, Any] = tool.arguments.get("properties", {})
    for position, argument in enumerate(tool.reveal):
        if argument not in properties:
            problems.append(
                document.error(
                    (*place, "reveal", position),
                    f"the tool has no argument {short(argument)}",
                    hint=did_you_mean(argument, properties),
                )
            )
    if tool.destination is not None:
        argument = tool.destination.argument
        where = (*place, "destination", "argument")
        if argument not in properties:
            problems.append(
                document.error(
                    where,
                    f"the tool has no argument {short(argument)}",
                    hint=did_you_mean(argument, properties),
                )
            )
        elif properties[argument].get("type") != "string" or argument not in tool.arguments.get(
            "required", ()
        ):
            problems.append(
                document.error(
                    where,
                    f"the argument {short(argument)} must be a required string",
                    hint="without it nobody could say where the call goes",
                )
            )
    if tool.allow_private_addresses and tool.destination is None:
        problems.append(
            document.error(
                (*place, "allow_private_addresses"),
                "means nothing for a tool without `destination`",
                hint="remove it, or name the destination",
            )
        )
    has_paths = PATH_FORMAT in formats_of(tool.arguments)
    if has_paths and not tool.path_roots:
        problems.append(
            document.error(
                (*place, "path_roots"),
                f"is missing: an argument has the format {PATH_FORMAT}",
                hint="list the directories below which it may lie: `path_roots: [/srv/data]`",
            )
        )
    if not has_paths and tool.path_roots is not None:
        problems.append(
            document.error(
                (*place, "path_roots"),
                f"means nothing for a tool without an argument of format {PATH_FORMAT}",
                hint=f"remove it, or add `format: {PATH_FORMAT}` to the argument",
            )
        )


def _spec(name: str, tool: _Tool) -> ToolSpec:
    reveal = frozenset(tool.reveal)
    destination = tool.destination
    return ToolSpec(
        name=ToolName(name),
        tool_class=ToolClass(tool.class_),
        description=tool.description,
        data_class=tool.data_class,
        arguments_schema=MappingProxyType(closed_schema(tool.arguments)),
        reveal=reveal,
        destination=(
            None
            if destination is None
            else DestinationSpec(
                argument=destination.argument,
                kind=destination.kind,
                is_resolved=destination.resolve,
            )
        ),
        allow_private_addresses=tool.allow_private_addresses,
        path_roots=tuple(tool.path_roots or ()),
        token_issuer=None if tool.token is None else tool.token.issuer,
        visible=visible_record(tool.arguments),
        validator=ArgumentsValidator(tool.arguments, reveal=reveal),
        undo=tool.undo,
    )
