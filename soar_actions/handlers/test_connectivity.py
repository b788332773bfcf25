# SPDX-License-Identifier: Apache-2.0
"""test connectivity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from soar_actions.errors import ActionError, ErrorClass
from soar_actions.steps import Call, Result, Status, Steps

__all__ = ["test_connectivity"]

_NOBODY: Final = "operations/apr_" + "0" * 32
"""An operation that does not exist. To ask for one is open to every operator and token, also to one
that is limited to some agents, and changes nothing."""


def test_connectivity(_values: Mapping[str, str], _key: str) -> Steps:  # noqa: PT019
    """Ask for something that is not there: that control says so proves address, TLS, credential."""
    try:
        yield Call("OperationService/GetOperation", {"name": _NOBODY})
    except ActionError as exc:
        if exc.kind is not ErrorClass.NOT_FOUND:
            raise
        return Result(
            status=Status.SUCCESS,
            summary="control answered and accepted the credential",
            data={"connected": True},
        )
    raise ActionError(
        ErrorClass.FAILED,
        "what answered is not control: it knows an operation that does not exist",
        reason="NOT_CONTROL",
        remedy="check the endpoint: it names the JSON API of control (port 7445), nothing else",
    )


test_connectivity.__test__ = False  # type: ignore[attr-defined]  # no test of pytest's
