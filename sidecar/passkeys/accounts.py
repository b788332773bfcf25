# SPDX-License-Identifier: Apache-2.0
"""Who may sign in with what: one-time links, enrolling, listing, removing. All of it in the log.

Laws:

1. Nothing counts before it is in control's log: a passkey opens something only once its entry is
   durable, and a link is handed out only then. A failed log leaves a passkey that opens nothing.
2. Taking away is tightening: it happens even if the log fails, and what the passkey opened ends.
3. A link is 256 random bits, kept as SHA-256, for one operator, for 15 minutes by both clocks, used
   once. A new one for the same operator voids the old one.
4. Nobody gets a passkey in silence. The log says who gave out the link and who it was for, and each
   way of signing in tells of every passkey that was not confirmed by that same way (``unseen``): two
   passkeys that an intruder enrolled cannot vouch for each other before the eyes of a third.
5. Only a human operator who is in force has passkeys; when they are enrolled they are looked up
   anew, and must still be the same human.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Protocol

import structlog

from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.errors import (
    ErrorReason,
    NotFoundError,
    PreconditionError,
    RefusedError,
    UntrustedInputError,
)
from sidecar.identifiers import check_request_id
from sidecar.model import Operator, OperatorKind
from sidecar.passkeys.passkeys import Passkeys
from sidecar.passkeys.store_sqlite import PasskeyStore
from sidecar.passkeys.values import (
    EnrolmentLink,
    Passkey,
    PasskeyState,
    Ticket,
    fold_human,
    from_base64url,
)

__all__ = ["AUDIT_KIND", "MAX_NAME", "TICKET_LIFE_S", "Accounts", "AuditSink"]

log = structlog.get_logger("holdfast.control")

AUDIT_KIND: Final = "account"
TICKET_LIFE_S: Final = 15 * 60
MAX_NAME: Final = 64
_SECRET_BYTES: Final = 32


class AuditSink(Protocol):
    """Control's log."""

    async def append(self, kind: str, body: Mapping[str, Any]) -> Any:
        """Record *body*; it is durable when this returns."""


class Accounts:
    """The passkeys of a console's humans.

    Args:
        store: Where they are kept.
        passkeys: Verifies what browsers send.
        audit: Control's log.
        operators: The operators in force, asked every time.
        console_url: Origin of the console; links lead there. Empty if there is no console.
        clock: Time.
    """

    def __init__(
        self,
        *,
        store: PasskeyStore,
        passkeys: Passkeys,
        audit: AuditSink,
        operators: Callable[[], Collection[Operator]],
        console_url: str,
        clock: Clock,
    ) -> None:
        self._store = store
        self._passkeys = passkeys
        self._audit = audit
        self._operators = operators
        self._console_url = console_url.rstrip("/")
        self._clock = clock
        self._removed: list[Callable[[Passkey], None]] = []

    def add_removal_listener(self, listener: Callable[[Passkey], None]) -> None:
        """Call *listener* with every passkey that is removed, so that what it opened ends."""
        self._removed.append(listener)

    # -- administrators -------------------------------------------------------------------------

    async def issue(self, *, operator: str, caller: Operator, request_id: str) -> EnrolmentLink:
        """Return a link with which *operator* enrols one passkey (laws 1, 3 and 4).

        A retry with the same request id makes a new link and voids the first: nobody keeps one.

        Raises:
            NotFoundError: There is no such operator.
            PreconditionError: They are no human, there is no console, or the link was used.
            ConflictError: The request id was used for somebody else.
        """
        check_request_id(request_id)
        who = self._human(operator)
        if not self._console_url:
            raise PreconditionError(
                "control has no console, so there is nowhere to enrol a passkey",
                reason=ErrorReason.INVALID_CONFIGURATION,
                hint="set console_url and console_listen",
            )
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        wall_ns, boot_ns = self._clock.wall_ns(), self._clock.boot_ns()
        ticket = Ticket(
            hash=_hash(secret),
            operator=who.name,
            human_id=fold_human(who.human_id),
            author=caller.name,
            request_id=request_id,
            create_time_ns=wall_ns,
            expire_time_ns=wall_ns + TICKET_LIFE_S * NS_PER_SECOND,
            create_boot_ns=boot_ns,
            deadline_boot_ns=boot_ns + TICKET_LIFE_S * NS_PER_SECOND,
        )
        await asyncio.to_thread(self._store.issue, ticket)
        await self._record(
            "link_issued", who.name, who.human_id, author=caller.name, request_id=request_id
        )
        return EnrolmentLink(
            url=f"{self._console_url}/enrol/{secret}",
            operator=who.name,
            expire_time_ns=ticket.expire_time_ns,
        )

    async def list(self, operator: str = "") -> Sequence[Passkey]:
        """Return the passkeys of *operator*'s human, or everybody's; oldest first."""
        if not operator:
            return await asyncio.to_thread(self._store.all)
        found = [
            item for item in await asyncio.to_thread(self._store.all) if item.operator == operator
        ]
        if found:
            return found
        self._human(operator)  # a name nobody has is a mistake, not an empty list
        return []

    async def remove(
        self, *, operator: str, credential_id: str, caller: Operator
    ) -> tuple[Passkey, bool]:
        """Remove a passkey of *operator* for good (law 2); return it, and whether it was gone.

        Works for an operator who is no longer in force, too.

        Raises:
            NotFoundError: *operator* never had it.
        """
        found = await self._find(credential_id)
        if found is None or found.operator != operator:
            raise NotFoundError(
                f"{operator or 'nobody'} has no such passkey",
                hint="list them: holdfast accounts list",
            )
        return await self._remove(found, remover=caller.name)

    # -- the person with the link ---------------------------------------------------------------

    async def open_ticket(self, secret: str) -> Ticket:
        """Return what the link with *secret* is for. Uses nothing.

        Raises:
            NotFoundError: Used, too old, never given out, or for somebody who is gone: one answer.
        """
        ticket = await asyncio.to_thread(self._store.ticket, _hash(secret))
        if ticket is None or not ticket.is_open(
            wall_ns=self._clock.wall_ns(), boot_ns=self._clock.boot_ns()
        ):
            raise _no_link()
        try:
            who = self._human(ticket.operator)
        except (NotFoundError, PreconditionError) as exc:
            raise _no_link() from exc
        if fold_human(who.human_id) != ticket.human_id:  # law 5
            raise _no_link()
        return ticket

    async def registration_options(self, ticket: Ticket, *, challenge: bytes) -> dict[str, Any]:
        """Return what the browser is asked to make for *ticket*, as JSON."""
        who = self._human(ticket.operator)
        return await self._passkeys.registration_options(who, challenge=challenge)

    async def enrol(self, secret: str, *, challenge: bytes, response: bytes, name: str) -> Passkey:
        """Use the link with *secret* to enrol the passkey in *response* (laws 1, 3 and 5).

        Raises:
            NotFoundError: As ``open_ticket``; also if somebody else was faster.
            RefusedError: PASSKEY_INVALID: the passkey cannot be taken. The link is not used up.
            UntrustedInputError: *name* is no name.
            EnvironmentFailure: It could not be recorded: the link is used and the passkey is not
                in force.
        """
        label = _label(name)
        ticket = await self.open_ticket(secret)
        made = self._passkeys.register(response, challenge=challenge)
        passkey = Passkey(
            credential_id=made.credential_id,
            human_id=ticket.human_id,
            operator=ticket.operator,
            public_key=made.public_key,
            counter=made.counter,
            name=label,
            author=ticket.author,
            state=PasskeyState.PENDING,
            create_time_ns=self._clock.wall_ns(),
            transports=made.transports,
        )
        await asyncio.to_thread(
            self._store.admit,
            passkey,
            ticket=ticket.hash,
            wall_ns=self._clock.wall_ns(),
            boot_ns=self._clock.boot_ns(),
        )
        await self._record(
            "passkey_added",
            passkey.operator,
            passkey.human_id,
            author=passkey.author,
            credential=passkey.credential_id,
            public_key_sha256=passkey.public_key_sha256,
            name=passkey.name,
        )
        if not await asyncio.to_thread(self._store.activate, passkey.credential_id):
            raise PreconditionError("the passkey was removed while it was enrolled")
        log.info("passkey enrolled", operator=passkey.operator, credential=passkey.credential_id)
        return passkey

    # -- the owner ------------------------------------------------------------------------------

    async def of_human(self, human_id: str) -> Sequence[Passkey]:
        """Return *human_id*'s passkeys, oldest first."""
        return await asyncio.to_thread(self._store.of_human, fold_human(human_id))

    async def unseen(self, human_id: str, *, by_credential: str) -> Sequence[Passkey]:
        """Return passkeys of *human_id* that were not confirmed by this way of signing in (law 4).

        Args:
            by_credential: The passkey that the session was opened with; empty for OpenID Connect.
        """
        known = await asyncio.to_thread(self._store.confirmed_with, by_credential)
        return [
            item
            for item in await self.of_human(human_id)
            if item.credential_id not in known and item.credential_id != by_credential
        ]

    async def confirm(self, credential_id: str, *, human_id: str, by_credential: str) -> None:
        """Note that *human_id* says this passkey is theirs; one cannot vouch for itself (law 4).

        Raises:
            NotFoundError: It is not theirs.
            RefusedError: The session was opened with this very passkey.
        """
        if credential_id == by_credential:
            raise RefusedError(
                "a passkey cannot confirm itself",
                hint="sign in another way to confirm it",
            )
        found = await self._find(credential_id)
        human = fold_human(human_id)
        if found is None or not await asyncio.to_thread(
            self._store.confirm, found.credential_id, human_id=human, voucher=by_credential
        ):
            raise _not_yours()
        await self._record(
            "passkey_confirmed",
            found.operator,
            human,
            credential=found.credential_id,
            by=by_credential or "openid",
        )

    async def remove_own(self, credential_id: str, *, human_id: str, operator: str) -> Passkey:
        """Remove a passkey of one's own for good (law 2).

        Raises:
            NotFoundError: It is not theirs.
        """
        found = await self._find(credential_id)
        if found is None or found.human_id != fold_human(human_id):
            raise _not_yours()
        removed, _ = await self._remove(found, remover=operator)
        return removed

    # -- private --------------------------------------------------------------------------------

    def _human(self, name: str) -> Operator:
        found = next((item for item in self._operators() if item.name == name), None)
        if found is None:
            raise NotFoundError(
                "there is no operator of this name in force",
                hint="operators are named in operators.yaml; names are exact",
            )
        if found.kind is not OperatorKind.HUMAN or not fold_human(found.human_id):
            raise PreconditionError(
                f"{found.name} is no human, and only humans have passkeys",
                reason=ErrorReason.PERMISSION_MISSING,
                hint="give it kind: human and a human_id, if a person stands behind it",
            )
        return found

    async def _find(self, credential_id: str) -> Passkey | None:
        try:
            from_base64url(credential_id, what="the credential id")
        except UntrustedInputError:
            return None
        return await asyncio.to_thread(self._store.find, credential_id)

    async def _remove(self, passkey: Passkey, *, remover: str) -> tuple[Passkey, bool]:
        was_there = passkey.state is not PasskeyState.REMOVED
        try:
            if was_there:
                await self._record(
                    "passkey_removed",
                    passkey.operator,
                    passkey.human_id,
                    author=remover,
                    credential=passkey.credential_id,
                    public_key_sha256=passkey.public_key_sha256,
                )
        finally:  # law 2: a log that fails is no reason to leave it in force
            await asyncio.to_thread(
                self._store.remove,
                passkey.credential_id,
                human_id=passkey.human_id,
                remover=remover,
                wall_ns=self._clock.wall_ns(),
            )
            for listener in self._removed:
                listener(passkey)
        return passkey, not was_there

    async def _record(self, event: str, operator: str, human: str, **more: str) -> None:
        await self._audit.append(
            AUDIT_KIND, {"event": event, "operator": operator, "human": human, **more}
        )


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _label(name: str) -> str:
    label = name.strip() or "passkey"
    if len(label) > MAX_NAME or not label.isprintable():
        raise UntrustedInputError(
            f"the passkey's name is longer than {MAX_NAME} characters or cannot be printed",
            reason=ErrorReason.INVALID_ARGUMENT,
            hint="call it what you call the thing: phone, laptop, blue key",
        )
    return label


def _no_link() -> NotFoundError:
    return NotFoundError(
        "this link was used, is older than 15 minutes, or was never given out",
        hint="ask an administrator for a new one: holdfast accounts enrol NAME",
    )


def _not_yours() -> NotFoundError:
    return NotFoundError("you have no such passkey", hint="open the list again")
