# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: N816 - the platform's names
"""A stand-in for the platform's ``demisto`` object: what an integration asks of the server.

The real one exists in a git repository alone and is not ours to ship. This one has its interface, as
far as the pack uses it; whoever drives it replaces ``params``, ``args``, ``command`` and the rest.
"""

callingContext: dict = {}


def params() -> dict:
    return {}


def args() -> dict:
    return {}


def command() -> str:
    return ""


def investigation() -> dict:
    return {"id": "1"}


def uniqueFile() -> str:
    return "1"


def getParam(name: str):
    return params().get(name)


def results(results) -> None:
    """Replaced by whoever drives it."""


def log(msg) -> None:
    """Replaced by whoever drives it."""


def debug(msg, *args) -> None:
    """Replaced by whoever drives it."""


def info(msg, *args) -> None:
    """Replaced by whoever drives it."""


def error(msg, *args) -> None:
    """Replaced by whoever drives it."""
