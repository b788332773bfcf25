# SPDX-License-Identifier: Apache-2.0
"""One slice of the bundle per tool: its parsed policies, its context, its cache key.

Cedar looks at every policy of a set for every request, so a call is judged by a set that holds only
the policies whose head can match its tool. A policy that names no tool is in every slice.

Laws:

1. A policy is left out of a slice only if its head cannot match that tool.
2. Shadow policies are never in the sets that decide.
3. Equal keys mean equal verdicts, for any arguments whatsoever.
4. The context is cut by names, not by the paths that make the key: it holds each argument whose
   name occurs in a policy. So a path that the projection forgot makes the cache wrong, never a
   fresh decision, and comparing the two shows it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import cedarpy

from sidecar.model import Destination
from sidecar.policy.convert import ABSENT, ConversionError, Converter, converter, key_part
from sidecar.policy.policies import PolicySpec
from sidecar.policy.projection import Projection, Read, merge, projection_of
from sidecar.policy.tools import ToolSpec
from sidecar.policy.types import RecordType, type_at

__all__ = ["ContextPlan", "PolicyGroup", "Slice", "build_slices"]

Getter = Callable[[Any], Any]
Parts = tuple[tuple[str, Converter], ...]

_UNCONVERTIBLE: Final = ("unconvertible",)
_encode: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class PolicyGroup:
    """Some policies, parsed once. Cedar numbers them; ``policies`` says which is which."""

    __slots__ = ("handle", "policies")

    def __init__(self, policies: Sequence[PolicySpec]) -> None:
        self.policies = tuple(policies)
        text = "\n".join(policy.text for policy in policies)
        self.handle = cedarpy.PolicySet.from_str(text, release_gil=True)

    def __len__(self) -> int:
        return len(self.policies)

    def find(self, numbered: Sequence[str]) -> tuple[PolicySpec, ...]:
        """Return the policies that Cedar calls ``policy<n>``, in the order of the bundle."""
        positions = sorted(int(name.removeprefix("policy")) for name in numbered)
        return tuple(self.policies[position] for position in positions)


class _Shared:
    """Parses each group of policies once: many tools have the same policies."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, ...], PolicyGroup] = {}
        self._whole: dict[tuple[str, ...], Projection] = {}
        self._single: dict[str, Projection] = {}

    def group(self, policies: Sequence[PolicySpec]) -> PolicyGroup:
        ids = tuple(policy.id for policy in policies)
        if ids not in self._groups:
            self._groups[ids] = PolicyGroup(policies)
        return self._groups[ids]

    def projection(self, policies: Sequence[PolicySpec]) -> Projection:
        ids = tuple(policy.id for policy in policies)
        if ids not in self._whole:
            self._whole[ids] = merge(self._of(policy) for policy in policies)
        return self._whole[ids]

    def _of(self, policy: PolicySpec) -> Projection:
        if policy.id not in self._single:
            self._single[policy.id] = projection_of([policy.tree])
        return self._single[policy.id]


def build_slices(
    tools: Mapping[str, ToolSpec], policies: Sequence[PolicySpec]
) -> Mapping[str, Slice]:
    """Return the slice of every tool."""
    shared = _Shared()
    unscoped = [policy for policy in policies if policy.scope.tools is None]
    scoped: dict[str, list[PolicySpec]] = {name: [] for name in tools}
    for policy in policies:
        for name in policy.scope.tools or ():
            scoped[name].append(policy)
    position = {policy.id: number for number, policy in enumerate(policies)}
    return MappingProxyType(
        {
            name: Slice(
                tool,
                sorted([*unscoped, *scoped[name]], key=lambda policy: position[policy.id]),
                shared,
            )
            for name, tool in tools.items()
        }
    )


class ContextPlan:
    """Which parts of a request some policies may see, and how each becomes a Cedar value."""

    __slots__ = ("has_destination", "has_session", "parts", "projection", "reads_anything")

    def __init__(self, tool: ToolSpec, projection: Projection) -> None:
        is_whole = projection.is_read(("args",))
        is_all = projection.is_read(())
        self.projection = projection
        self.parts: Parts = tuple(
            (name, converter(attribute.type))
            for name, attribute in tool.visible.attributes.items()
            if is_whole or name in projection.names
        )
        self.has_session = is_all or "session" in projection.names
        self.has_destination = tool.destination is not None and (
            is_all or "destination" in projection.names
        )
        self.reads_anything = bool(projection.reads)

    def context(
        self, *, session: str, arguments: Mapping[str, Any], destination: Destination | None
    ) -> str:
        """Return the request's Cedar context as JSON.

        Raises:
            ConversionError: an argument cannot become a Cedar value; never holds the value.
        """
        if not self.reads_anything:
            return "{}"
        args: dict[str, Any] = {}
        for name, convert in self.parts:
            value = arguments.get(name)
            if value is not None:
                try:
                    args[name] = convert(value)
                except ConversionError as exc:
                    raise ConversionError(f"the argument {name} {exc}") from exc
        context: dict[str, Any] = {"args": args}
        if self.has_session:
            context["session"] = session
        if self.has_destination:
            if destination is None:
                raise ConversionError("the destination is not known")
            context["destination"] = {
                "scheme": destination.scheme,
                "host": destination.host,
                "port": destination.port,
            }
        return _encode(context)

    def partly_read(self) -> Parts:
        """Return the arguments of the context that policies do not read whole.

        Their values are not whole in the key, yet may fail to convert and so decide.
        """
        if not self.reads_anything:
            return ()
        return tuple(part for part in self.parts if not self.projection.is_read(("args", part[0])))


class Slice:
    """Everything about one tool that a decision needs. Immutable after construction."""

    __slots__ = (
        "_getters",
        "_is_constant",
        "_key_destination",
        "_key_session",
        "_rest",
        "_shadow_rest",
        "deciding",
        "permits",
        "plan",
        "projection",
        "shadow_plan",
        "shadows",
        "tool",
    )

    def __init__(self, tool: ToolSpec, applicable: Sequence[PolicySpec], shared: _Shared) -> None:
        deciding = [policy for policy in applicable if not policy.is_shadow]
        shadows = [policy for policy in applicable if policy.is_shadow]
        self.tool = tool
        self.deciding = shared.group(deciding)
        self.permits = tuple(policy for policy in deciding if policy.effect == "permit")
        # Apart, because a matching forbid would hide which permits match.
        self.shadows = tuple(
            shared.group(group)
            for effect in ("permit", "forbid")
            if (group := [policy for policy in shadows if policy.effect == effect])
        )
        self.plan = ContextPlan(tool, shared.projection(deciding))
        self.shadow_plan = ContextPlan(tool, shared.projection(shadows))
        self.projection = merge((self.plan.projection, self.shadow_plan.projection))
        self._getters = _plan_getters(self.projection, tool.visible)
        self._rest = self.plan.partly_read()
        self._shadow_rest = self.shadow_plan.partly_read()
        self._key_session = self.projection.is_read(("session",))
        self._key_destination = self.plan.has_destination or self.shadow_plan.has_destination
        self._is_constant = not (
            self._getters
            or self._rest
            or self._shadow_rest
            or self._key_session
            or self._key_destination
        )

    def key(
        self,
        *,
        agent: str,
        session: str,
        arguments: Mapping[str, Any],
        destination: Destination | None,
    ) -> tuple[Any, ...]:
        """Return what of a request the verdict depends on, as a hashable value."""
        name = self.tool.name
        if self._is_constant:
            return (name, agent)
        if self._rest and not _is_convertible(self._rest, arguments):
            return (name, agent, _UNCONVERTIBLE)
        parts = [getter(arguments) for getter in self._getters]
        if self._shadow_rest:
            parts.append(_is_convertible(self._shadow_rest, arguments))
        if self._key_session:
            parts.append(session)
        if self._key_destination:
            parts.append(
                None
                if destination is None
                else (destination.scheme, destination.host, destination.port)
            )
        return (name, agent, *parts)

    def describe_key(self) -> tuple[str, ...]:
        """Return the names of the parts of the key, for people."""
        names = ["tool", "agent"]
        for read in self.projection.below("args"):
            name = ".".join(("args", *read.path))
            names.append(f"{name} (whether present)" if read.is_presence else name)
        names += ["session"] if self._key_session else []
        names += ["destination"] if self._key_destination else []
        return tuple(names)


def _is_convertible(parts: Parts, arguments: Mapping[str, Any]) -> bool:
    for name, convert in parts:
        value = arguments.get(name)
        if value is not None:
            try:
                convert(value)
            except ConversionError:
                return False
    return True


def _plan_getters(projection: Projection, visible: RecordType) -> tuple[Getter, ...]:
    getters = (_getter(read, visible) for read in projection.below("args"))
    return tuple(getter for getter in getters if getter is not None)


def _getter(read: Read, visible: RecordType) -> Getter | None:
    """Return the function that takes what *read* reads out of the arguments.

    None if nothing can be there: the context then never holds it either.
    """
    found = type_at(visible, read.path)
    if found is None:
        return None
    part = _presence if read.is_presence else key_part(found)
    if not read.path:
        return part
    if len(read.path) == 1:
        (name,) = read.path
        return lambda arguments: part(arguments.get(name))
    *parents, last = read.path

    def get_nested(arguments: Any) -> Any:
        # How far the path leads matters too: `args.o has x` fails where `o` itself is missing.
        current = arguments
        for depth, name in enumerate(parents):
            current = current.get(name)
            if type(current) is not dict:
                return (*ABSENT, depth, current is None)
        return part(current.get(last))

    return get_nested


def _presence(value: Any) -> bool:
    return value is not None
