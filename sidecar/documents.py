# SPDX-License-Identifier: Apache-2.0
"""Strict YAML, so that a file means what the person who reviewed it thought it means.

Laws:

1. A file is taken whole or refused whole, and *every* problem of it is reported at once.
2. Only ``null``, ``true``, ``false``, canonical decimal integers and floats are typed. Any other
   unquoted word that some YAML would type (``no``, ``0o10``, ``1_000``, ``12:30``, a date, ``~``)
   is an error that says "quote it", never a guess.
3. No duplicate keys, anchors, aliases, merge keys, tags, directives, second documents or tabs;
   nothing that a reader cannot see (byte order mark, control and direction characters).
4. The cost of a hostile file is bounded: bytes, nodes and depth are limited before data is built,
   and the reader is driven by events, so nesting cannot exhaust the stack.
5. The message names file, line, key, what is wrong and what to do. A value is shown shortened, and
   not at all below a key that sounds like a secret.
"""

from __future__ import annotations

import difflib
import errno
import itertools
import math
import os
import re
import stat
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from sidecar.errors import DocumentError, ErrorReason

__all__ = [
    "MAX_BUNDLE_FILE_BYTES",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_NODES",
    "Document",
    "DocumentErrors",
    "KeyPath",
    "closest",
    "did_you_mean",
    "load_document",
    "load_validated",
    "parse_document",
    "problems_of",
    "read_regular_file",
    "short",
    "validate_document",
]

KeyPath = tuple[str | int, ...]
ModelT = TypeVar("ModelT", bound=BaseModel)

MAX_BYTES: Final = 1 << 20
MAX_BUNDLE_FILE_BYTES: Final = 4 << 20
MAX_DEPTH: Final = 32
MAX_NODES: Final = 100_000
MAX_PROBLEMS_IN_MESSAGE: Final = 10
_MAX_PROBLEMS: Final = 200
_MAX_INT_DIGITS: Final = 18
_MAX_CANDIDATES: Final = 500

# libyaml where PyYAML has it (twenty times faster); both speak the same events.
_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029"  # control, line and paragraph separators
    "\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"  # zero width and direction
    "|\r(?!\n)"
)
_INT: Final = re.compile(r"-?(?:0|[1-9][0-9]*)\Z", re.ASCII)
_FLOAT: Final = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][+-]?[0-9]+)?\Z", re.ASCII)
_WORDS: Final[Mapping[str, bool | None]] = {"null": None, "true": True, "false": False}
# Everything that YAML 1.1, YAML 1.2 or a common reader of either would not read as a string.
_AMBIGUOUS: Final = re.compile(
    r"""(?:
      ~ | null | true | false | yes | no | on | off | y | n | = | <<
    | [-+]?\.(?:inf|nan)
    | [-+]?[0-9][0-9_,]*(?:\.[0-9_]*)?(?:e[-+]?[0-9_]*)?
    | [-+]?\.[0-9][0-9_]*(?:e[-+]?[0-9]+)?
    | [-+]?0[xob][0-9a-f_]+
    | [-+]?[0-9][0-9_]*(?::[0-9]{1,2})+(?:\.[0-9_]*)?
    | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[t\ ].*)?
    )\Z""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)
_SECRET_KEY: Final = re.compile(
    r"secret|passw|passphrase|private_key|credential|(?:^|_)token$|api_?key", re.IGNORECASE
)


class DocumentErrors(DocumentError):
    """Every problem of one file, or of one bundle of files.

    ``all`` holds each of them; ``path``, ``line`` and ``key`` are those of the first.
    """

    def __init__(
        self, problems: Sequence[DocumentError], *, reason: ErrorReason | None = None
    ) -> None:
        if not problems:
            raise ValueError("at least one problem is needed")
        first = problems[0]
        super().__init__(first.message, hint=first.hint, reason=reason or first.reason)
        self.path, self.line, self.key = first.path, first.line, first.key
        self.all: tuple[DocumentError, ...] = tuple(problems)

    def __str__(self) -> str:
        if len(self.all) == 1:
            return super().__str__()
        lines = [f"{len(self.all)} problems:"]
        lines += [f"  {problem}" for problem in self.all[:MAX_PROBLEMS_IN_MESSAGE]]
        if len(self.all) > MAX_PROBLEMS_IN_MESSAGE:
            lines.append(f"  … and {len(self.all) - MAX_PROBLEMS_IN_MESSAGE} more")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Plain data from one file, with the line of every key and item."""

    path: str
    data: Any
    lines: Mapping[KeyPath, int] = field(repr=False)

    def line_of(self, key_path: KeyPath) -> int:
        """Return the 1-based line of *key_path*, or of the nearest thing around it."""
        while key_path and key_path not in self.lines:
            key_path = key_path[:-1]
        return self.lines.get(key_path, 1)

    def error(self, key_path: KeyPath, message: str, *, hint: str = "") -> DocumentError:
        """Return an error that names this file and the line and dotted name of *key_path*."""
        return DocumentError(
            message, path=self.path, line=self.line_of(key_path), key=_dotted(key_path), hint=hint
        )


def load_document(
    path: Path,
    *,
    text: str | None = None,
    max_bytes: int = MAX_BYTES,
    max_nodes: int = MAX_NODES,
) -> Document:
    """Read the YAML file *path* strictly; with *text*, parse that and use *path* only as a name.

    Raises:
        DocumentErrors: the file cannot be read or breaks a law; ``all`` names every problem.
    """
    if text is None:
        data = read_regular_file(path, max_bytes=max_bytes)
    else:
        try:
            data = text.encode()
        except UnicodeEncodeError as exc:
            _refuse(str(path), None, "is not UTF-8 text", "save the file as UTF-8", cause=exc)
    return parse_document(data, name=str(path), max_bytes=max_bytes, max_nodes=max_nodes)


def read_regular_file(path: Path, *, max_bytes: int, name: str = "") -> bytes:
    """Return the bytes of *path*, which must be a regular file and no symbolic link.

    Raises:
        DocumentErrors: it is missing, unreadable, too large, or not a regular file.
    """
    name = name or str(path)
    try:
        # O_NONBLOCK: a pipe in the file's place must not hang us before we see that it is one.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            _refuse(name, None, "is a symbolic link", "put the file itself there", cause=exc)
        _refuse(name, None, f"cannot be read: {os.strerror(exc.errno or 0)}", "", cause=exc)
    except ValueError as exc:
        _refuse(name, None, "is not a path", "", cause=exc)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            _refuse(name, None, "is not a regular file", "put the file itself there")
        chunks: list[bytes] = []
        left = max_bytes + 1
        while left > 0 and (chunk := os.read(fd, min(left, 1 << 20))):
            chunks.append(chunk)
            left -= len(chunk)
    except OSError as exc:
        _refuse(name, None, f"cannot be read: {os.strerror(exc.errno or 0)}", "", cause=exc)
    finally:
        os.close(fd)
    data = b"".join(chunks)
    if len(data) > max_bytes:
        _refuse(name, None, f"is larger than {max_bytes} bytes", "split it, or remove what is old")
    return data


def parse_document(
    data: bytes,
    *,
    name: str,
    max_bytes: int = MAX_BYTES,
    max_nodes: int = MAX_NODES,
    max_depth: int = MAX_DEPTH,
    problems: list[DocumentError] | None = None,
) -> Document:
    """Return the document in *data*, the bytes of the file called *name*.

    With a list of *problems*, those after which reading can go on are added there instead of
    raised, so that they can be reported together with what is wrong with the content. The caller
    then refuses the file if the list is not empty.

    Raises:
        DocumentErrors: the bytes break a law; ``all`` names every problem.
    """
    if len(data) > max_bytes:
        _refuse(name, None, f"is larger than {max_bytes} bytes", "split it, or remove what is old")
    text = decode_text(data, name=name)
    if "\t" in text:
        _refuse(
            name,
            text.count("\n", 0, text.index("\t")) + 1,
            "contains a tab character",
            'indent with spaces; inside a value write "\\t" in double quotes',
        )
    builder = _Builder(name=name, max_nodes=max_nodes, max_depth=max_depth)
    is_readable = True
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as exc:
        is_readable = False
        mark = exc.problem_mark or exc.context_mark
        message = ", ".join(part for part in (exc.context, exc.problem) if part) or "is not YAML"
        last_line = text.rstrip("\n").count("\n")
        builder.problem(min(mark.line, last_line) + 1 if mark else None, (), message, "")
    except yaml.YAMLError:
        is_readable = False
        builder.problem(None, (), "is not YAML", "")
    except _Stop:
        is_readable = False
    if is_readable and not isinstance(builder.root, dict):
        is_readable = False
        builder.problem(1, (), "is empty or not a list of `key: value`", "start with `version: 1`")
    found = sorted(builder.problems, key=lambda problem: problem.line or 0)
    if found and (problems is None or not is_readable):
        raise DocumentErrors(found)
    if problems is not None:
        problems += found
    return Document(path=name, data=builder.root, lines=types.MappingProxyType(builder.lines))


def decode_text(data: bytes, *, name: str) -> str:
    """Return *data* as text in which everything can be seen.

    Raises:
        DocumentErrors: not UTF-8, a byte order mark, control or direction characters.
    """
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        _refuse(name, 1, "starts with a byte order mark", "save the file as UTF-8 without BOM")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        _refuse(name, line, "is not UTF-8 text", "save the file as UTF-8", cause=exc)
    if found := _INVISIBLE.search(text):
        _refuse(
            name,
            text.count("\n", 0, found.start()) + 1,
            f"contains the invisible character U+{ord(found[0][0]):04X}",
            "remove it: what a reviewer cannot see must not be there",
        )
    return text


class _Stop(Exception):
    """The file is hopeless from here on; the problem has been noted."""


@dataclass(slots=True)
class _Frame:
    container: dict[str, Any] | list[Any]
    path: KeyPath
    key: str | None = None
    key_line: int = 0
    is_duplicate: bool = False


class _Builder:
    """Turns parser events into data without recursion, noting every problem on the way."""

    def __init__(self, *, name: str, max_nodes: int, max_depth: int) -> None:
        self.name = name
        self.root: Any = None
        self.lines: dict[KeyPath, int] = {}
        self.problems: list[DocumentError] = []
        self._max_nodes = max_nodes
        self._max_depth = max_depth
        self._nodes = 0
        self._documents = 0
        self._stack: list[_Frame] = []

    def problem(self, line: int | None, path: KeyPath, message: str, hint: str) -> None:
        self.problems.append(
            DocumentError(message, path=self.name, line=line, key=_dotted(path), hint=hint)
        )

    def _stop(self, line: int, message: str, hint: str) -> NoReturn:
        path = self._stack[-1].path if self._stack else ()
        self.problem(line, path, message, hint)
        raise _Stop

    def take(self, event: yaml.Event) -> None:
        """Add one event of the parser to the data."""
        if len(self.problems) >= _MAX_PROBLEMS:
            raise _Stop
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if event.version or event.tags:
                self.problem(line, (), "has a %YAML or %TAG directive", "remove it")
            if self._documents > 1:
                self._stop(line, "holds a second document", "one file, one document")
        elif isinstance(event, yaml.AliasEvent):
            self.problem(line, self._path(), "is an alias (`*name`)", "write the value out")
            self._put(None, line)
        elif isinstance(event, yaml.ScalarEvent):
            self._check_node(event, line)
            self._put(self._scalar(event, line), line, is_scalar=True)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._check_node(event, line)
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            container: dict[str, Any] | list[Any] = {} if is_mapping else []
            path = self._put(container, line)
            if len(self._stack) >= self._max_depth:
                self._stop(line, f"is nested deeper than {self._max_depth} levels", "flatten it")
            self._stack.append(_Frame(container, path))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._stack.pop()

    def _path(self) -> KeyPath:
        """Return the key path of the value that comes next."""
        if not self._stack:
            return ()
        frame = self._stack[-1]
        if isinstance(frame.container, list):
            return (*frame.path, len(frame.container))
        return frame.path if frame.key is None else (*frame.path, frame.key)

    def _check_node(self, event: Any, line: int) -> None:
        self._nodes += 1
        if self._nodes > self._max_nodes:
            self._stop(line, f"has more than {self._max_nodes} values", "split the file")
        if event.anchor is not None:
            self.problem(line, self._path(), "has an anchor (`&name`)", "write the value out")
        if event.tag is not None:
            self.problem(line, self._path(), f"has the tag {short(event.tag)}", "remove the tag")

    def _put(self, value: Any, line: int, *, is_scalar: bool = False) -> KeyPath:
        """Store *value* as the document, the next item, the next key or that key's value."""
        if not self._stack:
            self.root = value
            self.lines[()] = line
            return ()
        frame = self._stack[-1]
        if isinstance(frame.container, list):
            path = (*frame.path, len(frame.container))
            frame.container.append(value)
            self.lines[path] = line
            return path
        if frame.key is None:
            self._put_key(frame, value, line, is_scalar=is_scalar)
            return frame.path
        path = (*frame.path, frame.key)
        if not frame.is_duplicate:
            frame.container[frame.key] = value
            self.lines[path] = frame.key_line
        frame.key = None
        return path

    def _put_key(self, frame: _Frame, key: Any, line: int, *, is_scalar: bool) -> None:
        if not is_scalar:
            self._stop(line, "has a key that is not a word", "write `key: value`")
        if not isinstance(key, str):
            word = {None: "null", True: "true", False: "false"}.get(key, str(key))
            self.problem(line, frame.path, f"has the key {word}, which is not text", "quote it")
            key = str(word)
        assert isinstance(frame.container, dict)  # noqa: S101 - narrows the type only
        frame.is_duplicate = key in frame.container
        if frame.is_duplicate:
            first = self.lines[(*frame.path, key)]
            self.problem(
                line,
                (*frame.path, key),
                f"appears twice (first on line {first})",
                "keep one of them",
            )
        frame.key, frame.key_line = key, line

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> Any:
        value: str = event.value
        if event.style:  # quoted, literal or folded: always text
            return value
        if value in _WORDS:
            return _WORDS[value]
        if _INT.match(value) and value != "-0":
            if len(value) <= _MAX_INT_DIGITS:
                return int(value)
            self.problem(line, self._path(), "is too large for a number", "quote it")
            return 0
        if _FLOAT.match(value):
            number = float(value)
            if math.isfinite(number) and (number != 0.0 or not value.startswith("-")):
                return number
        if not value:
            self.problem(line, self._path(), "has no value", 'write null, "" or the value')
        elif _AMBIGUOUS.match(value):
            self.problem(
                line,
                self._path(),
                f"{short(value)} without quotes means different things to different YAML readers",
                f'quote it: "{value[:40]}"',
            )
        return value


def validate_document(
    document: Document, model: type[ModelT], *, reason: ErrorReason | None = None
) -> ModelT:
    """Return *document* as *model*.

    Raises:
        DocumentErrors: with one entry per problem, each with line, key and remedy; *reason* is
            what it tells programs.
    """
    try:
        return model.model_validate(document.data)
    except ValidationError as exc:
        problems = problems_of(exc, document=document, model=model)
        raise DocumentErrors(problems, reason=reason) from exc


def load_validated(path: Path, model: type[ModelT], *, reason: ErrorReason | None = None) -> ModelT:
    """Return the YAML file *path* as *model*; problems of form and content are raised together.

    Raises:
        DocumentErrors: ``all`` names every problem.
    """
    problems: list[DocumentError] = []
    data = read_regular_file(path, max_bytes=MAX_BYTES)
    document = parse_document(data, name=str(path), problems=problems)
    try:
        value = model.model_validate(document.data)
    except ValidationError as exc:
        problems += problems_of(exc, document=document, model=model)
        raise DocumentErrors(problems, reason=reason) from exc
    if problems:
        raise DocumentErrors(problems, reason=reason)
    return value


def problems_of(
    exc: ValidationError, *, document: Document, model: type[BaseModel]
) -> tuple[DocumentError, ...]:
    """Return each problem of *exc* with its place in *document*, in the order of the lines."""
    problems: dict[tuple[KeyPath, str], DocumentError] = {}
    for error in exc.errors(include_url=False):
        path = _path_in_data(error["loc"], document.data, error["type"])
        message, hint = _sentence(error, path=path, model=model)
        problems.setdefault((path, message), document.error(path, message, hint=hint))
    return tuple(sorted(problems.values(), key=lambda problem: problem.line or 0))


def _sentence(error: Any, *, path: KeyPath, model: type[BaseModel]) -> tuple[str, str]:
    kind: str = error["type"]
    context: Mapping[str, Any] = error.get("ctx", {})
    name = str(path[-1]) if path else ""
    value = "the value" if any(_SECRET_KEY.search(str(k)) for k in path) else short(error["input"])
    if kind == "extra_forbidden":
        known = _keys_of(_type_at(model, path[:-1]))
        return f"unknown key {short(name)}", did_you_mean(name, known) or _one_of("keys", known)
    if kind == "missing":
        return "is missing", f"add `{name}:`"
    if kind in {"literal_error", "enum"}:
        choices = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        hint = did_you_mean(error["input"], choices) if isinstance(error["input"], str) else ""
        if not choices:
            return f"{value} is not {context.get('expected', 'allowed')}", ""
        return f"{value} is not one of {', '.join(choices)}", hint
    if kind == "value_error":
        return str(context.get("error", error["msg"])), ""
    message: str = error["msg"]
    if message.startswith("Input should be "):
        wanted = message.removeprefix("Input should be ").replace("dictionary", "mapping")
        return f"{value} should be {wanted}", ""
    return f"{value}: {message[:1].lower()}{message[1:]}", ""


def _path_in_data(loc: Sequence[str | int], data: Any, kind: str) -> KeyPath:
    """Drop from pydantic's location whatever is no key of the file (``[key]``, union members)."""
    path: list[str | int] = []
    for position, part in enumerate(loc):
        is_last = position == len(loc) - 1
        is_key = isinstance(data, dict) and part in data
        is_item = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if is_key or is_item:
            path.append(part)
            data = data[part]
        elif is_last and kind == "missing":
            path.append(part)
    return tuple(path)


def _type_at(model: Any, path: KeyPath) -> Any:
    """Return the annotated type that *path* leads to, or None."""
    current: Any = model
    for part in path:
        current = _strip(current)
        if isinstance(current, type) and issubclass(current, BaseModel):
            fields = {info.alias or key: info for key, info in current.model_fields.items()}
            info = fields.get(str(part))
            current = info.annotation if info else None
        elif typing.get_origin(current) in {dict, Mapping}:
            current = typing.get_args(current)[1]
        elif typing.get_origin(current) in {list, tuple, Sequence}:
            current = typing.get_args(current)[0]
        else:
            return None
    return _strip(current)


def _strip(annotation: Any) -> Any:
    """Return *annotation* without ``Annotated`` and ``| None``."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _strip(typing.get_args(annotation)[0])
    if origin in {typing.Union, types.UnionType}:
        members = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
        return _strip(members[0]) if len(members) == 1 else annotation
    return annotation


def _keys_of(model: Any) -> list[str]:
    if isinstance(model, type) and issubclass(model, BaseModel):
        return [info.alias or key for key, info in model.model_fields.items()]
    return []


def _one_of(what: str, names: Sequence[str]) -> str:
    return f"{what} here: {', '.join(names)}" if names else ""


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that *word* most probably stands for, or None."""
    margin = max(2, len(word) // 2)
    near = (known for known in candidates if abs(len(known) - len(word)) <= margin)
    found = difflib.get_close_matches(
        word[:128], list(itertools.islice(near, _MAX_CANDIDATES)), n=1, cutoff=0.6
    )
    return found[0] if found else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return ``did you mean "x"?``, or nothing when no candidate is near."""
    found = closest(word, candidates)
    return f'did you mean "{found}"?' if found is not None else ""


def short(value: object, limit: int = 60) -> str:
    """Return *value* as people wrote it, in double quotes when text, cut to *limit* characters."""
    if isinstance(value, str):
        shown = value if len(value) <= limit else value[: limit - 1] + "…"
        escaped = shown.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in escaped) + '"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    shown = repr(value)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _dotted(path: KeyPath) -> str:
    parts = ""
    for part in path:
        if isinstance(part, int):
            parts += f"[{part}]"
        else:
            word = part if re.fullmatch(r"[\w/$@:-]{1,64}", part, re.ASCII) else short(part)
            parts += f".{word}" if parts else word
    return parts


def _refuse(
    name: str, line: int | None, message: str, hint: str, *, cause: BaseException | None = None
) -> NoReturn:
    raise DocumentErrors([DocumentError(message, path=name, line=line, hint=hint)]) from cause
