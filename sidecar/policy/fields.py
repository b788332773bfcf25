# SPDX-License-Identifier: Apache-2.0
"""Field types that the bundle's YAML files share: names, labels, durations.

Laws:

1. Names are ASCII and matched whole; a name that differs is refused, never normalised.
2. A duration always carries its unit, so nobody has to guess between seconds and minutes.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from sidecar.documents import short

__all__ = [
    "AgentName",
    "ArgumentName",
    "DataClass",
    "FileModel",
    "GroupName",
    "LabelKey",
    "LimitName",
    "OperatorName",
    "Owner",
    "PathRoot",
    "Sentence",
    "SessionName",
    "ToolNameField",
    "Version",
    "duration",
    "is_policy_id",
    "parse_duration",
]

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,6})([smhd])", re.ASCII)
_POLICY_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}", re.ASCII)
_MAX_PATH_BYTES: Final = 4095
_MAX_NAME_BYTES: Final = 255


class FileModel(BaseModel):
    """Base of everything read from YAML: no unknown keys, no coercion, no change afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)


def _version(value: Any) -> Any:
    if type(value) is not int or value != 1:
        raise ValueError(f"{short(value)} is not a version this release reads: write 1")
    return value


Version = Annotated[Literal[1], BeforeValidator(_version)]


def _named(what: str, pattern: str, rule: str) -> AfterValidator:
    compiled = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"{short(value)} is not {what}: {rule}")
        return value

    return AfterValidator(check)


def _text(what: str, limit: int) -> AfterValidator:
    def check(value: str) -> str:
        if len(value) > limit or not all(c.isprintable() for c in value):
            raise ValueError(f"{what} is one line of at most {limit} printable characters")
        return value

    return AfterValidator(check)


ToolNameField = Annotated[
    str,
    _named(
        "a tool name",
        r"[a-z0-9][a-z0-9._/-]{0,127}",
        "lower-case letters, digits and . _ / -, at most 128",
    ),
]
AgentName = Annotated[
    str,
    _named(
        "an agent id",
        r"[a-z0-9][a-z0-9._-]{0,62}",
        "lower-case letters, digits and . _ -, at most 63",
    ),
]
GroupName = Annotated[
    str,
    _named(
        "a group name",
        r"[a-z0-9][a-z0-9._-]{0,62}",
        "lower-case letters, digits and . _ -, at most 63",
    ),
]
OperatorName = Annotated[
    str,
    _named(
        "an operator name",
        r"[a-z0-9][a-z0-9._-]{0,62}",
        "lower-case letters, digits and . _ -, at most 63",
    ),
]
LimitName = Annotated[
    str,
    _named(
        "a name",
        r"[a-z0-9][a-z0-9._-]{0,62}",
        "lower-case letters, digits and . _ -, at most 63",
    ),
]
DataClass = Annotated[
    str,
    _named("a data class", r"[a-z][a-z0-9-]{0,62}", "lower-case letters, digits and -"),
]
LabelKey = Annotated[
    str,
    _named(
        "a key",
        r"[a-z](?:[a-z0-9_./-]{0,61}[a-z0-9])?",
        "lower-case letters, digits and _ . / -, starting with a letter",
    ),
]
SessionName = Annotated[
    str,
    _named(
        "a session id",
        r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}",
        "letters, digits and . _ : -, at most 128",
    ),
]
# Two leading underscores belong to Cedar's JSON (``__entity``, ``__extn``): never an argument.
ArgumentName = Annotated[
    str,
    _named(
        "an argument name",
        r"(?!__)[A-Za-z0-9_$@][A-Za-z0-9_$@.:/-]{0,127}",
        "letters, digits and _ $ @ . : / -, at most 128, not starting with __",
    ),
]
Owner = Annotated[str, _named("an owner", r"[\x21-\x7e]{1,254}", "a mail address or user name")]
Sentence = Annotated[str, _text("the text", 500)]


def _path_root(value: str) -> str:
    is_good = value.startswith("/") and value.isprintable() and not {"\\", "%"} & set(value)
    if is_good and value != "/":
        names = value[1:].split("/")
        is_good = len(value.encode()) <= _MAX_PATH_BYTES and all(
            name not in ("", ".", "..") and len(name.encode()) <= _MAX_NAME_BYTES for name in names
        )
    if not is_good:
        raise ValueError(
            f"{short(value)} is not the path of a directory: write its real, absolute path, without "
            "empty, . or .. parts, a slash at the end, \\ or %"
        )
    return value


# No laxer than ``sidecar.arguments`` is at every call: a root it refuses would deny the whole tool.
PathRoot = Annotated[str, AfterValidator(_path_root)]


def is_policy_id(value: str) -> bool:
    """Return whether *value* can stand in ``@id("…")``."""
    return _POLICY_ID.fullmatch(value) is not None


def parse_duration(value: object) -> int:
    """Return the seconds of ``30s``, ``15m``, ``2h`` or ``1d``.

    Raises:
        ValueError: it is anything else.
    """
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{short(value)} is not a duration: write 30s, 15m, 2h or 1d")
    return int(found[1]) * _UNITS[found[2]]


def duration(*, least_s: int, most_s: int) -> BeforeValidator:
    """Return a validator that reads a duration and keeps it within the bounds."""

    def check(value: object) -> int:
        seconds = parse_duration(value)
        if not least_s <= seconds <= most_s:
            raise ValueError(
                f"{short(value)} is outside {_words(least_s)} to {_words(most_s)}",
            )
        return seconds

    return BeforeValidator(check)


def _words(seconds: int) -> str:
    for unit in ("d", "h", "m"):
        if seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"
