# SPDX-License-Identifier: Apache-2.0
"""Where a network tool's call wants to go, from the one argument that says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sidecar.destination.urls import parse_url
from sidecar.model import Destination, ReasonCode, ToolCall
from sidecar.policy.tools import DestinationSpec
from sidecar.shape import ShapeError

__all__ = ["destination_of"]

_HTTPS_PORT: Final = 443


def destination_of(call: ToolCall, spec: DestinationSpec) -> Destination:
    """Return the destination of *call*.

    A call may repeat it as ``url``; if the two differ, nobody can say which one the executor takes.

    Raises:
        ShapeError: It is missing, not of the strict form, or said twice and differently.
    """
    text = call.arguments.get(spec.argument)
    if not isinstance(text, str):
        raise ShapeError(f"argument {spec.argument} does not say where to go", code=ReasonCode.URL)
    destination = _read(text, spec)
    if call.url and parse_url(call.url) != destination:
        raise ShapeError("url and arguments name different destinations", code=ReasonCode.URL)
    return destination


def _read(text: str, spec: DestinationSpec) -> Destination:
    if spec.kind == "host":
        # A host alone: anything that could start a path, a query or a port is another thing.
        if any(character in text for character in "/?#@:") and not text.startswith("["):
            raise ShapeError("the destination is not a host alone", code=ReasonCode.URL)
        return parse_url(f"https://{text}/")
    found = parse_url(text, allow_bare=spec.kind == "bare")
    if found.scheme:
        return found
    return replace(found, scheme="https", port=found.port or _HTTPS_PORT)
