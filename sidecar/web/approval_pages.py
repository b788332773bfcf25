# SPDX-License-Identifier: Apache-2.0
"""The page on which a human decides.

Laws:

1. GET shows. Only a POST decides, and it decides through ``Approvals.decide`` with the operator that
   the session stands for now; nothing here counts a vote.
2. The form sends back the whole fingerprint of the bytes that were shown; what was not shown to the
   end cannot be granted from here; refusing asks for nothing but the button.
3. Nothing is granted by a sign-in that is older than five minutes where a passkey does not sign.
4. What somebody typed is given back to them whenever the answer is not yes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web

from sidecar.approvals.answers import Ballot
from sidecar.approvals.challenge import grant_challenge
from sidecar.approvals.values import Approval, ApprovalState, Channel, Tier, Verdict
from sidecar.errors import (
    ErrorReason,
    HoldfastError,
    NotFoundError,
    PreconditionError,
    RefusedError,
    UntrustedInputError,
)
from sidecar.model import Operator
from sidecar.web.access import Visitor, form_of, visitor_of
from sidecar.web.approval_facts import is_genuine, is_kept
from sidecar.web.approval_view import ApprovalView
from sidecar.web.console import Console
from sidecar.web.render import see_other, wants_json
from sidecar.web.twins import approval_twin

__all__ = ["ApprovalPages"]

_MAX_REASON: Final = 1000
_MAX_ASSERTION: Final = 32 * 1024
_VERDICTS: Final = {"grant": Verdict.GRANT, "refuse": Verdict.REFUSE}
_FIELDS: Final = frozenset(
    {"csrf", "verdict", "reason", "fingerprint", "request_id", "read", "assertion"}
)
_OWN_REASONS: Final = {
    ErrorReason.REASON_NEEDED: "reason",
    ErrorReason.PASSKEY_NEEDED: "passkey",
    ErrorReason.PASSKEY_INVALID: "passkey",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What somebody put into the form, and what is wrong with it by field."""

    verdict: str = "refuse"
    reason: str = ""
    is_read: bool = False
    errors: Mapping[str, str] = field(default_factory=dict)
    banner: str = ""
    hint: str = ""


class ApprovalPages:
    """``/approvals/…``."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/approvals/{id}", self.show),
            web.get("/approvals/{id}/decision", self.back),
            web.post("/approvals/{id}/decision", self.decide),
        ]

    async def show(self, request: web.Request) -> web.Response:
        """Answer ``GET /approvals/{id}``."""
        visitor = visitor_of(request)
        approval = await self._find(request, visitor)
        if wants_json(request):
            return web.json_response(self._twin(approval, visitor.operator))
        return await self._page(request, approval, _Entry(reason=self._kept(visitor, approval)))

    async def back(self, request: web.Request) -> web.Response:
        """Answer ``GET /approvals/{id}/decision``: a reload after a mistake in the form."""
        return see_other(f"/approvals/{quote(request.match_info['id'], safe='')}")

    async def decide(self, request: web.Request) -> web.StreamResponse:
        """Answer ``POST /approvals/{id}/decision``."""
        visitor = visitor_of(request)
        form = form_of(request)
        approval = await self._find(request, visitor)
        verdict = _VERDICTS.get(form.get("verdict", ""))
        if verdict is None or not _FIELDS.issuperset(form):
            raise UntrustedInputError("the form does not say what was decided")
        if not is_genuine(approval.request):
            return self._not_genuine(request)
        entry = _Entry(
            verdict=form["verdict"],
            reason=" ".join(form.get("reason", "").split()),
            is_read=form.get("read") == "all",
        )
        if approval.state is ApprovalState.PENDING and verdict is Verdict.GRANT:
            refusal = await self._missing(request, visitor, approval, entry, form)
            if refusal is not None:
                return refusal
        assertion = form.get("assertion", "") if verdict is Verdict.GRANT else ""
        ballot = Ballot(
            approval_id=approval.id,
            verdict=verdict,
            fingerprint=form.get("fingerprint", ""),
            reason=entry.reason,
            request_id=form.get("request_id", ""),
            channel=Channel.CONSOLE,
            assertion=assertion.encode("utf-8"),
        )
        try:
            await self._console.ports.approvals.decide(ballot, visitor.operator)
        except (PreconditionError, RefusedError, UntrustedInputError) as exc:
            return await self._declined(request, visitor, entry, exc)
        self._console.flash.drop(visitor.operator.human_id, approval.id)
        return see_other(f"/approvals/{quote(approval.id, safe='')}?decided=1")

    async def _missing(
        self,
        request: web.Request,
        visitor: Visitor,
        approval: Approval,
        entry: _Entry,
        form: Mapping[str, str],
    ) -> web.StreamResponse | None:
        """Return what stands in the way of a grant before anybody is asked, if anything does."""
        asked = approval.request
        if self._needs_login(visitor, approval):
            self._console.flash.keep(visitor.operator.human_id, approval.id, entry.reason)
            return see_other(self._login_url(approval))
        errors: dict[str, str] = {}
        if not entry.is_read and await self._console.gather.must_read(asked):
            errors["read"] = "Say that you have read all of it, down to the end."
        if asked.is_reason_needed and not entry.reason:
            errors["reason"] = "Say why: a grant at this tier needs a reason."
        if len(entry.reason) > _MAX_REASON:
            errors["reason"] = f"At most {_MAX_REASON} characters."
        assertion = form.get("assertion", "")
        if asked.is_passkey_needed and not assertion:
            errors["passkey"] = (
                "Your passkey has not signed. Signing needs JavaScript in this browser and a passkey "
                "of yours; refusing needs neither."
            )
        elif len(assertion) > _MAX_ASSERTION:
            errors["passkey"] = "What the passkey sent is too long."
        if not errors:
            return None
        return await self._again(request, approval, entry, errors=errors, status=422)

    async def _declined(
        self, request: web.Request, visitor: Visitor, entry: _Entry, exc: HoldfastError
    ) -> web.Response:
        """Return the page again: why the vote did not count, and how things stand now."""
        approval = await self._find(request, visitor)
        place = _OWN_REASONS.get(exc.reason)
        if place is not None:
            return await self._again(
                request, approval, entry, errors={place: exc.message}, status=422
            )
        status = 409 if isinstance(exc, PreconditionError) else 403
        return await self._again(
            request, approval, entry, errors={}, status=status, banner=exc.message, hint=exc.hint
        )

    async def _again(
        self,
        request: web.Request,
        approval: Approval,
        entry: _Entry,
        *,
        errors: Mapping[str, str],
        status: int,
        banner: str = "",
        hint: str = "",
    ) -> web.Response:
        kept = _Entry(
            verdict=entry.verdict,
            reason=entry.reason,
            is_read=entry.is_read,
            errors=errors,
            banner=banner,
            hint=hint,
        )
        return await self._page(request, approval, kept, status=status)

    # -- private --------------------------------------------------------------------------------

    async def _find(self, request: web.Request, visitor: Visitor) -> Approval:
        """Return the approval, which looks missing to who may not see it (D26)."""
        desk = self._console.ports.approvals
        try:
            approval = await desk.get(request.match_info["id"])
        except (NotFoundError, UntrustedInputError) as exc:
            raise _nothing() from exc
        if not desk.may_see(approval, visitor.operator):
            raise _nothing()
        return approval

    async def _page(
        self, request: web.Request, approval: Approval, entry: _Entry, *, status: int = 200
    ) -> web.Response:
        visitor = visitor_of(request)
        if is_kept(approval) and not is_genuine(approval.request):
            return self._not_genuine(request)
        view = await self._console.gather.view(approval, visitor.operator)
        context = {
            "view": view,
            "approval": approval,
            "asked": approval.request,
            "entry": entry,
            "request_id": self._console.ids.new("vote"),
            "needs_login": view.may_decide and self._needs_login(visitor, approval),
            "login_url": self._login_url(approval),
            "passkey": await self._passkey(view, visitor),
            "has_result": bool(approval.votes) or not approval.is_live,
            "was_just_decided": "decided" in request.query and view.own_vote is not None,
        }
        return await self._console.page(request, "approval.html", context, status=status)

    async def _passkey(self, view: ApprovalView, visitor: Visitor) -> dict[str, Any] | None:
        """Return what the passkey's dialogue needs, if a grant from this page needs one."""
        if not (view.may_decide and view.request.is_passkey_needed):
            return None
        book, human_id = self._console.ports.passkeys, visitor.operator.human_id
        if book is None or not await book.credential_ids(human_id):
            return {"options": "", "is_set_up": book is not None}
        challenge = grant_challenge(view.approval.id, view.request.fingerprint)
        options = await book.authentication_options(challenge=challenge, human_id=human_id)
        return {"options": json.dumps(options, separators=(",", ":")), "is_set_up": True}

    def _not_genuine(self, request: web.Request) -> web.Response:
        """Return the page that shows nothing and has no form (D18)."""
        return self._console.guard.error(
            request,
            500,
            "What is stored here does not hash to its fingerprint. It is not shown, and nothing can "
            "be decided on it.",
            hint="Tell whoever runs Holdfast: the store of approvals was damaged or changed. The "
            "request will expire by itself, as a refusal.",
            reason=ErrorReason.INTEGRITY_BROKEN,
        )

    def _needs_login(self, visitor: Visitor, approval: Approval) -> bool:
        """Return whether a grant needs a younger sign-in (law 3)."""
        asked = approval.request
        if asked.tier < Tier.HIGH or asked.is_passkey_needed:
            return False
        max_age_s = self._console.config.login_max_age_s
        return not self._console.sessions.is_recent(visitor.session, max_age_s=max_age_s)

    def _login_url(self, approval: Approval) -> str:
        there = quote(f"/approvals/{quote(approval.id, safe='')}", safe="/")
        return f"/login?fresh=1&next={there}"

    def _kept(self, visitor: Visitor, approval: Approval) -> str:
        return self._console.flash.look(visitor.operator.human_id, approval.id)

    def _twin(self, approval: Approval, caller: Operator) -> dict[str, Any]:
        electors = self._console.ports.approvals.electorate(approval.request).operators
        names = [operator.name for operator in electors]
        return approval_twin(approval, caller, names, has_text=True)


def _nothing() -> NotFoundError:
    return NotFoundError(
        "There is no such page, or it is not for you.",
        hint="An id in a link is no permission: sign in as who may decide it.",
    )
