# SPDX-License-Identifier: Apache-2.0
"""What may become an approval at all.

Law: what is shown is what is granted. A request carries the canonical JSON of the very call or action
it is about, which hashes to its fingerprint and names the same agent, session and tool; and its
numbers leave no approval that is granted by nobody or waits for ever. Whoever asks may be a gate that
was taken over, so nothing of it is believed.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from sidecar.approvals.tiers import MAX_EXPIRY_S, MAX_GRANT_LIFE_S, MAX_QUORUM
from sidecar.approvals.values import Request, RequestKind
from sidecar.canonical import JsonLimits, parse_and_canonicalise
from sidecar.errors import ErrorReason, UntrustedInputError

__all__ = ["check_request"]

# A call's arguments have their own, narrower limits; these only bound what parsing may cost.
_CANONICAL_LIMITS: Final = JsonLimits(
    max_bytes=1024 * 1024, max_depth=100, max_nodes=200_000, max_string_bytes=1024 * 1024
)


def check_request(request: Request) -> None:
    """Hold *request* against law 8 and the bounds of its numbers.

    Raises:
        UntrustedInputError: It must not be shown to anybody as what it says it is.
    """
    if sha256(request.canonical).hexdigest() != request.fingerprint:
        raise UntrustedInputError(
            "the canonical form of the request does not hash to its fingerprint",
            hint="compute the fingerprint of the bytes that are sent",
        )
    document, canonical = parse_and_canonicalise(request.canonical, limits=_CANONICAL_LIMITS)
    if canonical != request.canonical:
        raise UntrustedInputError("the canonical form of the request is not canonical JSON")
    match request.kind:
        case RequestKind.CALL:
            named = (document.get("agent"), document.get("session"), document.get("tool"))
            if named != (request.agent, request.session, request.tool) or not request.agent:
                raise UntrustedInputError(
                    "agent, session and tool of the request are not those of the call"
                )
        case RequestKind.ACTION:
            if not request.request_id or not request.action:
                raise UntrustedInputError("a control action needs a name and a request id")
            if document.get("action") != request.action:
                raise UntrustedInputError("the request's canonical form is of another action")
    for name, value, highest in (
        ("quorum", request.quorum, MAX_QUORUM),
        ("expiry_s", request.expiry_s, MAX_EXPIRY_S),
        ("grant_life_s", request.grant_life_s, MAX_GRANT_LIFE_S),
    ):
        if not 1 <= value <= highest:
            raise UntrustedInputError(
                f"the request's {name} is {value}, not 1 to {highest}",
                reason=ErrorReason.INVALID_ARGUMENT,
            )
