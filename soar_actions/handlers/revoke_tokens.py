# SPDX-License-Identifier: Apache-2.0
"""revoke tokens."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.errors import ActionError, ErrorClass
from soar_actions.handlers.listing import without_empty
from soar_actions.handlers.reading import flag, required, texts
from soar_actions.handlers.render import revocation_data
from soar_actions.steps import Call, Result, Status, Steps

__all__ = ["revoke_tokens"]


def revoke_tokens(values: Mapping[str, str], key: str) -> Steps:
    """Revoke what matches all selectors; PARTIAL while a gate has not acknowledged."""
    selectors = without_empty(
        agent=values["agent"],
        session=values["session"],
        issuer=values["issuer"],
        jti=values["token_id"],
    )
    if not selectors:
        raise ActionError(
            ErrorClass.BAD_INPUT,
            "revoke tokens needs to be told whose",
            remedy="give an agent, a session, an issuer, or a token_id with its issuer",
        )
    if "jti" in selectors and "issuer" not in selectors:
        raise ActionError(
            ErrorClass.BAD_INPUT,
            "a token id means nothing without its issuer",
            remedy="give the issuer (the `iss` of the token) too",
        )
    answer = yield Call(
        "TokenService/RevokeTokens",
        {
            "requestId": key,
            **selectors,
            **without_empty(issuedBefore=values["issued_before"]),
            "reason": values["reason"],
        },
    )
    revocation = revocation_data(required(answer, "revocation"))
    laggards = texts(answer, "laggards")
    whose = ", ".join(f"{name} {value}" for name, value in selectors.items())
    said = f"tokens are revoked: {whose}"
    if laggards:
        said += f"; not yet acknowledged by: {', '.join(laggards)}"
    return Result(
        status=Status.PARTIAL if laggards else Status.SUCCESS,
        summary=said,
        data={
            "revocation": revocation,
            "laggards": laggards,
            "repeated_request": flag(answer, "repeatedRequest"),
        },
    )
