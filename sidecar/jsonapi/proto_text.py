# SPDX-License-Identifier: Apache-2.0
"""What stands in proto files, with the comments that the compiled code has lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

__all__ = ["Field", "Method", "Source"]

# Field numbers of descriptor.proto, which the paths of comments consist of.
_MESSAGE: Final = 4
_ENUM: Final = 5
_SERVICE: Final = 6
_IN_MESSAGE_FIELD: Final = 2
_IN_MESSAGE_NESTED: Final = 3
_IN_MESSAGE_ENUM: Final = 4
_ITEM: Final = 2

_Path = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method with its comment."""

    service: str
    proto: MethodDescriptorProto
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field with its comment; ``oneof`` is the name of a real one, or ""."""

    proto: FieldDescriptorProto
    comment: str
    oneof: str


class Source:
    """The messages, enums and services of *package*, by their full name with a leading dot.

    Raises:
        ValueError: The files came without comments.
    """

    def __init__(self, files: FileDescriptorSet, package: str) -> None:
        self._messages: dict[str, DescriptorProto] = {}
        self._enums: dict[str, EnumDescriptorProto] = {}
        self._comments: dict[tuple[str, _Path], str] = {}
        self._places: dict[str, tuple[str, _Path]] = {}
        self._files = [file for file in files.file if file.package == package]
        if not any(file.source_code_info.location for file in self._files):
            raise ValueError("the descriptors hold no comments: protoc --include_source_info")
        for file in self._files:
            self._read(file)

    def services(self) -> Iterator[tuple[str, str]]:
        """Yield every service's name and comment."""
        for file in self._files:
            for index, service in enumerate(file.service):
                yield service.name, self._comment(file.name, (_SERVICE, index))

    def methods(self) -> Iterator[Method]:
        """Yield every method, in the order of the files."""
        for file in self._files:
            for index, service in enumerate(file.service):
                for number, method in enumerate(service.method):
                    comment = self._comment(file.name, (_SERVICE, index, _ITEM, number))
                    yield Method(service=service.name, proto=method, comment=comment)

    def message(self, name: str) -> DescriptorProto | None:
        """Return a message of the package."""
        return self._messages.get(name)

    def comment(self, name: str) -> str:
        """Return the comment of a message or an enum."""
        return self._comment(*self._places[name])

    def fields(self, name: str) -> Iterator[Field]:
        """Yield the fields of a message."""
        file, path = self._places[name]
        message = self._messages[name]
        for index, field in enumerate(message.field):
            is_member = field.HasField("oneof_index") and not field.proto3_optional
            yield Field(
                proto=field,
                comment=self._comment(file, (*path, _IN_MESSAGE_FIELD, index)),
                oneof=message.oneof_decl[field.oneof_index].name if is_member else "",
            )

    def values(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield the values of an enum with their comments."""
        file, path = self._places[name]
        for index, value in enumerate(self._enums[name].value):
            yield value.name, self._comment(file, (*path, _ITEM, index))

    def has_operation(self, name: str) -> bool:
        """Return whether a message has a field ``operation`` that is one."""
        return any(
            field.name == "operation" and field.type_name.endswith(".Operation")
            for field in self._messages[name].field
        )

    def _comment(self, file: str, path: _Path) -> str:
        return self._comments.get((file, path), "")

    def _read(self, file: FileDescriptorProto) -> None:
        for location in file.source_code_info.location:
            if location.leading_comments:
                key = (file.name, tuple(location.path))
                self._comments[key] = _clean(location.leading_comments)
        for index, message in enumerate(file.message_type):
            self._add(f".{file.package}", message, file.name, (_MESSAGE, index))
        for index, enum in enumerate(file.enum_type):
            self._add_enum(f".{file.package}", enum, file.name, (_ENUM, index))

    def _add(self, above: str, message: DescriptorProto, file: str, path: _Path) -> None:
        name = f"{above}.{message.name}"
        self._messages[name], self._places[name] = message, (file, path)
        for index, nested in enumerate(message.nested_type):
            self._add(name, nested, file, (*path, _IN_MESSAGE_NESTED, index))
        for index, enum in enumerate(message.enum_type):
            self._add_enum(name, enum, file, (*path, _IN_MESSAGE_ENUM, index))

    def _add_enum(self, above: str, enum: EnumDescriptorProto, file: str, path: _Path) -> None:
        name = f"{above}.{enum.name}"
        self._enums[name], self._places[name] = enum, (file, path)


def _clean(comment: str) -> str:
    """Return a comment as paragraphs: its line breaks are the proto's, not the text's."""
    paragraphs = "\n".join(line.strip() for line in comment.strip().splitlines()).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
