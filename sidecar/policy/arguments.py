# SPDX-License-Identifier: Apache-2.0
"""A tool's arguments: which JSON Schema may describe them, and do they match it.

Laws:

1. Only keywords that we understand and enforce may appear; any other is an error at load, because
   a keyword that is silently ignored is a rule that its author believes in.
2. Every object is closed: an argument that the schema does not name is refused, at every depth.
3. Nothing is coerced: ``"5"`` is no integer and ``true`` is no integer. ``1.0`` is the integer 1,
   as JSON Schema and canonical JSON both say.
4. Integers are I-JSON integers (at most 2^53 - 1 in size), whatever the schema allows.
5. Patterns run on a linear-time engine; one that needs backtracking is refused at load.
6. A problem is described without the value, and without names the caller made up, unless the
   argument is one that the tool reveals.
7. Of ``format`` only ``holdfast-path`` and ``holdfast-argv`` may appear, and only on a type that can
   hold one. They say nothing about form, so nothing here enforces them: the gate looks at the disk
   (``sidecar.arguments``), after the schema was found to match.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import jsonschema_rs
from pydantic import TypeAdapter, ValidationError

from sidecar.documents import KeyPath, closest, did_you_mean, short
from sidecar.policy.fields import ArgumentName

__all__ = [
    "ARGV_FORMAT",
    "NO_ARGUMENTS",
    "PATH_FORMAT",
    "ArgumentProblem",
    "ArgumentsValidator",
    "check_schema",
    "closed_schema",
    "formats_of",
]

NO_ARGUMENTS: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}

# The names that ``sidecar.arguments`` enforces; the components do not import each other.
PATH_FORMAT: Final = "holdfast-path"
ARGV_FORMAT: Final = "holdfast-argv"
_FORMATS: Final[Mapping[str, str]] = {PATH_FORMAT: "string", ARGV_FORMAT: "array"}

MAX_SCHEMA_DEPTH: Final = 12
MAX_PROPERTIES: Final = 256
_MAX_INTEGER: Final = 2**53 - 1
_PATTERN_SIZE: Final = 1 << 20
_TYPES: Final = ("string", "boolean", "integer", "number", "array", "object", "null")
_ANNOTATIONS: Final = frozenset({"title", "description", "examples", "$comment"})
_KEYWORDS: Final[Mapping[str, frozenset[str]]] = {
    "string": frozenset({"enum", "const", "minLength", "maxLength", "pattern"}),
    "boolean": frozenset({"enum", "const"}),
    "integer": frozenset(
        {"enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
    ),
    "number": frozenset(
        {"enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
    ),
    "array": frozenset({"items", "minItems", "maxItems", "uniqueItems"}),
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "null": frozenset(),
}
_ALL_KEYWORDS: Final = frozenset().union(*_KEYWORDS.values(), _ANNOTATIONS, {"type", "anyOf"})

_ARGUMENT_NAME: Final[TypeAdapter[str]] = TypeAdapter(ArgumentName)

Report = Callable[[KeyPath, str, str], None]
"""Called with the key path inside the schema, what is wrong there, and a remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentProblem:
    """Why arguments do not match their schema: a reason code, a JSON pointer and a sentence."""

    kind: Literal["MISSING_ARGUMENT", "SCHEMA"]
    pointer: str
    text: str


class _SchemaError(Protocol):
    message: str
    schema_path: list[str | int]
    instance_path: list[str | int]
    instance: Any
    kind: Any


class ArgumentsValidator:
    """One compiled schema. Immutable; safe to share between threads."""

    __slots__ = ("_known", "_reveal", "_validator")

    def __init__(self, schema: Mapping[str, Any], *, reveal: frozenset[str]) -> None:
        self._validator = _compile(closed_schema(schema))
        self._known = tuple(schema.get("properties", ()))
        self._reveal = reveal

    def problem(self, arguments: object) -> ArgumentProblem | None:
        """Return the first problem of *arguments*, or None if they match."""
        if type(arguments) is not dict:
            return _schema_problem("", "the arguments are not a JSON object")
        try:
            if self._validator.is_valid(arguments):
                return None
            errors: list[Any] = list(itertools.islice(self._validator.iter_errors(arguments), 16))
        except (ValueError, TypeError, OverflowError, RecursionError):
            # Not JSON at all (a lone surrogate, a key that is no string, nested without end).
            return _schema_problem("", "the arguments are not plain JSON")
        missing = [error for error in errors if error.kind.name == "required"]
        if missing:
            return self._missing(missing[0])
        if not errors:
            return _schema_problem("", "the arguments do not match the tool's schema")
        return self._mismatch(errors[0])

    def _missing(self, error: _SchemaError) -> ArgumentProblem:
        name = str(getattr(error.kind, "property", ""))
        path = (*error.instance_path, name)
        return ArgumentProblem(
            kind="MISSING_ARGUMENT",
            pointer=_pointer(path),
            text=f"the argument {short(_joined(path))} is missing",
        )

    def _mismatch(self, error: _SchemaError) -> ArgumentProblem:
        path = tuple(error.instance_path)
        keyword = str(error.kind.name)
        where = f"the argument {short(_joined(path))}" if path else "the call"
        if keyword == "additionalProperties":
            unexpected = getattr(error.kind, "unexpected", [])
            near = closest(str(unexpected[0]), self._known) if unexpected and not path else None
            known = ", ".join(self._known) if not path else ""
            hint = f"; did you mean {short(near)}?" if near else ""
            hint = hint or (f"; it takes {known}" if known else "; it takes none")
            return _schema_problem(
                _pointer(path), f"{where} has an argument that the tool does not take{hint}"
            )
        sentence = f"{where} {_expectation(keyword, error.kind)}"
        is_revealed = bool(path) and path[0] in self._reveal
        if is_revealed:
            sentence += f", not {short(error.instance)}"
        return _schema_problem(_pointer(path), sentence)


def _schema_problem(pointer: str, text: str) -> ArgumentProblem:
    return ArgumentProblem(kind="SCHEMA", pointer=pointer, text=text)


def _expectation(keyword: str, kind: Any) -> str:
    limit = getattr(kind, "limit", None)
    match keyword:
        case "type":
            return f"must be {_type_words(kind)}"
        case "enum":
            options = getattr(kind, "options", None) or []
            return "must be one of " + ", ".join(short(option) for option in options[:8])
        case "const":
            return f"must be {short(getattr(kind, 'expected_value', None))}"
        case "minimum":
            return f"must be at least {limit}"
        case "maximum":
            return f"must be at most {limit}"
        case "exclusiveMinimum":
            return f"must be more than {limit}"
        case "exclusiveMaximum":
            return f"must be less than {limit}"
        case "minLength":
            return f"must have at least {limit} characters"
        case "maxLength":
            return f"must have at most {limit} characters"
        case "minItems":
            return f"must have at least {limit} items"
        case "maxItems":
            return f"must have at most {limit} items"
        case "uniqueItems":
            return "must not repeat an item"
        case "pattern":
            return f"must match {short(getattr(kind, 'pattern', ''))}"
        case _:
            return "does not match any of the forms the tool takes"


def _type_words(kind: Any) -> str:
    types = getattr(kind, "types", None)
    if not isinstance(types, (list, tuple)) or not types:
        return "of another type"
    return "of type " + " or ".join(str(name) for name in types)


def _joined(path: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in path)


def _pointer(path: tuple[str | int, ...]) -> str:
    """Return the RFC 6901 pointer. All parts are names of the schema or positions in a list."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def check_schema(schema: Mapping[str, Any], report: Report) -> bool:
    """Report whatever in *schema* is outside the subset; return whether it may be used."""
    problems = 0

    def note(path: KeyPath, message: str, hint: str = "") -> None:
        nonlocal problems
        problems += 1
        report(path, message, hint)

    if schema.get("type") != "object":
        note((), "arguments are described by an object", "write `type: object`")
        return False
    _check_node(schema, (), note, 0)
    if not problems:
        try:
            _compile(closed_schema(schema))
        except (ValueError, TypeError) as exc:
            note((), "is not a JSON Schema that can be compiled", str(exc).splitlines()[0][:120])
    return problems == 0


_Note = Callable[..., None]


def _check_node(schema: Any, path: KeyPath, note: _Note, depth: int) -> None:
    if not isinstance(schema, dict):
        return note(path, f"should be a schema, not {short(schema)}", "write `type: …`")
    if depth > MAX_SCHEMA_DEPTH:
        return note(path, f"is nested deeper than {MAX_SCHEMA_DEPTH} levels", "flatten it")
    if "anyOf" in schema:
        return _check_any_of(schema, path, note, depth)
    kinds = schema.get("type")
    names: list[Any] = kinds if isinstance(kinds, list) else [kinds]
    if "type" not in schema or not names:
        return note(path, "has no type", f"write `type:` and one of {', '.join(_TYPES)}")
    for name in names:
        if name not in _TYPES:
            hint = did_you_mean(name, _TYPES) if isinstance(name, str) else ""
            return note((*path, "type"), f"{short(name)} is not one of {', '.join(_TYPES)}", hint)
    allowed = _ANNOTATIONS | {"type"} | frozenset().union(*(_KEYWORDS[name] for name in names))
    for keyword in schema:
        if keyword == "format" and _is_format(schema["format"]):
            _check_format(schema, frozenset(names), path, note)
        elif keyword not in allowed:
            _note_keyword(keyword, path, note, allowed)
    if "object" in names:
        _check_object(schema, path, note, depth)
    if "array" in names:
        if "items" not in schema:
            note(path, "does not say what the array holds", "add `items: {type: …}`")
        else:
            _check_node(schema["items"], (*path, "items"), note, depth + 1)
    if "pattern" in schema:
        _check_pattern(schema["pattern"], (*path, "pattern"), note)
    if "enum" in schema and not (isinstance(schema["enum"], list) and schema["enum"]):
        note((*path, "enum"), "should be a list of the allowed values", "")
    return None


def _note_keyword(keyword: str, path: KeyPath, note: _Note, allowed: frozenset[str]) -> None:
    if keyword in _ALL_KEYWORDS:
        note((*path, keyword), "does not apply to this type", "remove it")
    else:
        hint = did_you_mean(keyword, allowed) or "remove it: it would not be enforced"
        note((*path, keyword), f"the keyword {short(keyword)} is not supported", hint)


def _is_format(value: object) -> bool:
    return isinstance(value, str) and value in _FORMATS


def _check_format(
    schema: Mapping[str, Any], names: frozenset[str], path: KeyPath, note: _Note
) -> None:
    """Refuse a format on a type of which some values could not be checked."""
    name = schema["format"]
    place = (*path, "format")
    if names - {"null"} != {_FORMATS[name]}:
        note(place, f"{name} does not apply to this type", f"write `type: {_FORMATS[name]}`")
        return
    items = schema.get("items")
    if name == ARGV_FORMAT and isinstance(items, dict) and items.get("type") != "string":
        note(place, "a command is a list of words", "write `items: {type: string}`")


def formats_of(schema: Mapping[str, Any]) -> frozenset[str]:
    """Return the formats in *schema*, which ``check_schema`` has found good."""
    found = {schema["format"]} if "format" in schema else set()
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    inner += [schema["items"]] if "items" in schema else []
    return frozenset(found).union(*map(formats_of, inner))


def _check_any_of(schema: Mapping[str, Any], path: KeyPath, note: _Note, depth: int) -> None:
    for keyword in schema:
        if keyword != "anyOf" and keyword not in _ANNOTATIONS:
            note((*path, keyword), "cannot stand beside anyOf", "move it into the alternatives")
    options = schema["anyOf"]
    if not isinstance(options, list) or not options:
        note((*path, "anyOf"), "should be a list of schemas", "")
        return
    for position, option in enumerate(options):
        _check_node(option, (*path, "anyOf", position), note, depth + 1)


def _check_object(schema: Mapping[str, Any], path: KeyPath, note: _Note, depth: int) -> None:
    properties = schema.get("properties", {} if depth == 0 else None)
    if not isinstance(properties, dict):
        return note(path, "an object needs `properties`", "name what the object may hold")
    if len(properties) > MAX_PROPERTIES:
        return note((*path, "properties"), f"has more than {MAX_PROPERTIES} entries", "")
    for name, sub in properties.items():
        place: KeyPath = (*path, "properties", name)
        try:
            _ARGUMENT_NAME.validate_python(name)
        except ValidationError as exc:
            note(place, str(exc.errors()[0].get("ctx", {}).get("error", "bad name")), "rename it")
        _check_node(sub, place, note, depth + 1)
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        return note((*path, "required"), "should be a list of argument names", "")
    for position, name in enumerate(required):
        if name not in properties:
            note(
                (*path, "required", position),
                f"{short(name)} is not among the properties",
                did_you_mean(name, properties),
            )
    if schema.get("additionalProperties", False) is not False:
        note(
            (*path, "additionalProperties"),
            "must be false: an argument that nobody described cannot be judged",
            "remove it",
        )
    return None


def _check_pattern(pattern: object, path: KeyPath, note: _Note) -> None:
    try:
        _compile({"type": "string", "pattern": pattern})
    except (ValueError, TypeError):
        note(
            path,
            f"{short(pattern)} is not a pattern that runs in linear time",
            "avoid look-around, back-references and huge repetitions",
        )


def _compile(schema: Mapping[str, Any]) -> Any:
    return jsonschema_rs.Draft202012Validator(
        dict(schema),
        pattern_options=jsonschema_rs.RegexOptions(
            size_limit=_PATTERN_SIZE, dfa_size_limit=_PATTERN_SIZE
        ),
        validate_formats=False,
        offline=True,
    )


def closed_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of *schema* that closes every object and bounds every integer."""
    closed = {key: value for key, value in schema.items() if key not in _ANNOTATIONS}
    kinds = closed.get("type")
    names = kinds if isinstance(kinds, list) else [kinds]
    if "object" in names:
        closed["properties"] = {
            name: closed_schema(sub) for name, sub in schema.get("properties", {}).items()
        }
        closed["additionalProperties"] = False
    if "items" in closed:
        closed["items"] = closed_schema(closed["items"])
    if "anyOf" in closed:
        closed["anyOf"] = [closed_schema(option) for option in closed["anyOf"]]
    if "integer" in names and "number" not in names:
        closed["minimum"] = max(closed.get("minimum", -_MAX_INTEGER), -_MAX_INTEGER)
        closed["maximum"] = min(closed.get("maximum", _MAX_INTEGER), _MAX_INTEGER)
    return closed
