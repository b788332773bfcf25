# SPDX-License-Identifier: Apache-2.0
"""Who has which API tokens, and which token may do what right now.

Laws:

1. A token acts for one operator of the bundle in force, asked at each call: the same name, identity
   and human as when it was made. Whoever leaves the bundle takes their tokens along.
2. Its rights are its permissions *and* its operator's roles at that moment *and* ``GRANTABLE``,
   whatever the store says. Its caller counts as automation.
3. Expiry and revocation are looked at in each call. A wall clock that is set back revives nothing
   while this process lives.
4. What loosens is in control's log before it works; what tightens works first, in memory, and is then
   written down. Neither entry holds a secret.
5. Whatever is no token that we gave out gets one and the same answer, after the same work.
6. What is asked at each call is in memory: no call waits for the disk. The last use is written behind,
   to the minute, and may be lost.
7. Without a readable store no token works, and nothing else is touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol, TypeVar

import structlog

from sidecar.apitokens.values import (
    GRANTABLE,
    ApiToken,
    IssuedToken,
    TokenRefused,
    TokenState,
    digest_of,
    is_id,
    is_same,
    new_id,
    new_secret,
    split_authorization,
)
from sidecar.clock import NS_PER_SECOND, Clock, datetime_of
from sidecar.errors import (
    ConflictError,
    EnvironmentFailure,
    ErrorReason,
    NotFoundError,
    PreconditionError,
    RefusedError,
    UntrustedInputError,
)
from sidecar.identifiers import check_agent_id, check_request_id
from sidecar.model import Operator, OperatorKind, Role

__all__ = [
    "AUDIT_KIND",
    "DEFAULT_TTL_S",
    "MAX_AGENTS",
    "MAX_DESCRIPTION",
    "MAX_OVERLAP_S",
    "MAX_TTL_S",
    "MIN_TTL_S",
    "ApiTokenStore",
    "ApiTokens",
    "AuditSink",
    "UnusableStore",
]

log = structlog.get_logger("holdfast.control")

AUDIT_KIND: Final = "api_token"
MIN_TTL_S: Final = 5 * 60
DEFAULT_TTL_S: Final = 90 * 86_400
MAX_TTL_S: Final = 366 * 86_400
MAX_OVERLAP_S: Final = 7 * 86_400
MAX_DESCRIPTION: Final = 200
MAX_REASON: Final = 500
MAX_AGENTS: Final = 256

_MINUTE_NS: Final = 60 * NS_PER_SECOND
_FLUSH_S: Final = 30.0
_NOBODYS: Final = bytes(32)
T = TypeVar("T")


class AuditSink(Protocol):
    """Control's log."""

    async def append(self, kind: str, body: Mapping[str, Any]) -> Any:
        """Record *body*; it is durable when this returns."""


class ApiTokenStore(Protocol):
    """Where tokens are kept; see ``store_sqlite``."""

    def load_all(self) -> Sequence[ApiToken]: ...
    def order_of(self, request_id: str) -> str: ...
    def add(self, token: ApiToken, *, request_id: str, what: str) -> None: ...
    def rotate(self, token: ApiToken, *, replaced: bytes, request_id: str, what: str) -> bool: ...
    def revoke(self, token: ApiToken, *, request_id: str, what: str) -> None: ...
    def note_uses(self, uses: Mapping[str, int]) -> None: ...


class UnusableStore:
    """In place of a store that cannot be opened: every method says why (law 7)."""

    def __init__(self, failure: EnvironmentFailure) -> None:
        self._failure = failure

    def load_all(self) -> Sequence[ApiToken]:
        raise self._failure

    def order_of(self, request_id: str) -> str:
        raise self._failure

    def add(self, token: ApiToken, *, request_id: str, what: str) -> None:
        raise self._failure

    def rotate(self, token: ApiToken, *, replaced: bytes, request_id: str, what: str) -> bool:
        raise self._failure

    def revoke(self, token: ApiToken, *, request_id: str, what: str) -> None:
        raise self._failure

    def note_uses(self, uses: Mapping[str, int]) -> None:
        raise self._failure


class ApiTokens:
    """The API tokens of one control.

    Args:
        store: Where they are kept; read once, by ``start``.
        audit: Control's log.
        operators: The operators in force, asked every time.
        clock: Time.
    """

    def __init__(
        self,
        *,
        store: ApiTokenStore,
        audit: AuditSink,
        operators: Callable[[], Collection[Operator]],
        clock: Clock,
    ) -> None:
        self._store = store
        self._audit = audit
        self._operators = operators
        self._clock = clock
        self._tokens: dict[str, ApiToken] = {}
        self._deadlines: dict[str, dict[int, int]] = {}  # wall → boot, for each end a token has
        self._unsaved: set[str] = set()
        self._uses: dict[str, int] = {}
        self._failure: EnvironmentFailure | None = EnvironmentFailure(
            "the API tokens were not read yet", reason=ErrorReason.STORE_UNAVAILABLE
        )
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Read the store; if it cannot be read no token works, and this says so (law 7)."""
        try:
            for token in await asyncio.to_thread(self._store.load_all):
                self._keep(token)
        except EnvironmentFailure as exc:
            log.error("API tokens do not work: their store cannot be read", problem=str(exc))
            self._failure = exc
        else:
            self._failure = None

    async def run(self) -> None:
        """Write last uses behind, until cancelled (law 6)."""
        while True:
            await asyncio.sleep(_FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        """Write down when tokens were last used; what fails is tried again next time."""
        uses, self._uses = self._uses, {}
        if not uses:
            return
        try:
            await asyncio.to_thread(self._store.note_uses, uses)
        except EnvironmentFailure as exc:
            self._uses = {**uses, **self._uses}
            log.warning("last uses of API tokens could not be written down", problem=str(exc))

    async def aclose(self) -> None:
        """Finish what was begun, and write down last uses."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.flush()

    # -- at each call ---------------------------------------------------------------------------

    def authenticate(self, authorization: str, operators: Mapping[str, Operator]) -> Operator:
        """Return the operator of *operators* that the header's token acts for, as it may act.

        Args:
            authorization: The header, ``Bearer hfat_…``.
            operators: The operators in force, by identity.

        Raises:
            RefusedError: UNAUTHENTICATED: it is no token that works now (laws 1, 3 and 5).
            EnvironmentFailure: The tokens cannot be read (law 7).
        """
        found = split_authorization(authorization)
        if found is None:
            raise _nobody()
        if self._failure is not None:
            raise EnvironmentFailure(
                "API tokens do not work now: their store cannot be read",
                reason=ErrorReason.STORE_UNAVAILABLE,
                hint="control's log says why; client certificates work",
            )
        token_id, digest = found
        token = self._tokens.get(token_id)
        is_current = is_same(digest, token.hash if token else _NOBODYS)
        is_previous = is_same(digest, (token.previous_hash if token else b"") or _NOBODYS)
        if token is None or not (is_current or is_previous):
            raise _nobody()
        now_ns = self._clock.wall_ns()
        self._check_alive(token, now_ns)
        if not is_current and self._is_over(token, token.previous_expire_time_ns):
            raise TokenRefused(
                f"the API token {token.id} has a new secret, and this one works no more",
                token=token.id,
                hint="use the secret of the last rotation, or rotate it again",
            )
        operator = operators.get(token.identity)
        if (
            operator is None
            or operator.name != token.operator
            or operator.human_id != token.human_id
        ):
            raise TokenRefused(
                f"{token.operator}, for whom the API token {token.id} acts, is no operator now",
                token=token.id,
                hint="operators are named in operators.yaml; make a token for one that is in force",
            )
        self._note_use(token, now_ns)
        return replace(
            operator,
            kind=OperatorKind.AUTOMATION,
            roles=operator.roles & token.permissions & GRANTABLE,  # law 2
            agents=token.agents,
            token=token.id,
            is_local=False,
        )

    def _check_alive(self, token: ApiToken, now_ns: int) -> None:
        """Law 3."""
        if token.revoke_time_ns:
            raise TokenRefused(
                f"the API token {token.id} was revoked",
                token=token.id,
                hint="a revoked token never works again: have a new one made",
            )
        if now_ns < token.create_time_ns:
            raise TokenRefused(
                f"the API token {token.id} was made after what this host takes for the time",
                token=token.id,
                hint="set the host's clock",
            )
        if self._is_over(token, token.expire_time_ns):
            raise TokenRefused(
                f"the API token {token.id} expired at {_time_text(token.expire_time_ns)}",
                token=token.id,
                hint="have a new one made: holdfast api-tokens create",
            )

    def _note_use(self, token: ApiToken, now_ns: int) -> None:
        minute_ns = now_ns // _MINUTE_NS * _MINUTE_NS
        if minute_ns > token.use_time_ns:
            self._tokens[token.id] = replace(token, use_time_ns=minute_ns)
            self._uses[token.id] = minute_ns

    # -- administrators -------------------------------------------------------------------------

    async def create(
        self,
        *,
        request_id: str,
        operator: str,
        permissions: Collection[str],
        agents: Collection[str],
        ttl_s: float | None,
        description: str,
        caller: Operator,
    ) -> IssuedToken:
        """Make a token; its secret is in the answer and nowhere else.

        Args:
            request_id: Names this order; a second one with it is refused.
            operator: Whom it acts for.
            permissions: Roles it may use.
            agents: The only agents it may touch; empty for all.
            ttl_s: Seconds it works; None for ``DEFAULT_TTL_S``.
            description: What it is for.
            caller: Who makes it.

        Raises:
            UntrustedInputError: The order is not well formed.
            NotFoundError: There is no such operator.
            PreconditionError: The operator does not hold one of the permissions.
            ConflictError: The request id was used: no secret is shown twice.
            EnvironmentFailure: It could not be recorded, or not be kept: there is no token.
        """
        check_request_id(request_id)
        roles = _permissions(permissions)
        limit = _agents(agents)
        purpose = _text(description, what="a description", most=MAX_DESCRIPTION)
        life_s = _span(ttl_s, default=DEFAULT_TTL_S, least=MIN_TTL_S, most=MAX_TTL_S, what="ttl")
        who = self._operator(operator)
        lacking = sorted(roles - who.roles)
        if lacking:
            raise PreconditionError(
                f"{who.name} does not hold {', '.join(lacking)}, so no token can",
                reason=ErrorReason.PERMISSION_MISSING,
                hint=f"{who.name} holds {', '.join(sorted(who.roles)) or 'no role'}",
            )

        async def create() -> IssuedToken:
            await self._check_fresh(request_id)
            token_id = new_id()
            while token_id in self._tokens:
                token_id = new_id()
            secret = new_secret(token_id)
            now_ns = self._clock.wall_ns()
            token = ApiToken(
                id=token_id,
                operator=who.name,
                identity=who.identity,
                human_id=who.human_id,
                permissions=roles,
                agents=limit,
                description=purpose,
                author=caller.name,
                hash=digest_of(secret),
                create_time_ns=now_ns,
                expire_time_ns=now_ns + life_s * NS_PER_SECOND,
            )
            await self._record(
                "created",
                token,
                caller,
                request_id,
                permissions=sorted(roles),
                agents=sorted(limit),
                description=purpose,
                expire_time=_time_text(token.expire_time_ns),
            )
            await asyncio.to_thread(
                self._store.add, token, request_id=request_id, what=f"create {token.id}"
            )
            self._keep(token)
            return IssuedToken(token=token, secret=secret)

        return await self._whole(create)

    async def rotate(
        self, token_id: str, *, request_id: str, overlap_s: float | None, caller: Operator
    ) -> IssuedToken:
        """Give a token a new secret; the one before works for *overlap_s*, an older one no more.

        Raises:
            UntrustedInputError: The order is not well formed.
            NotFoundError: There is no such token.
            PreconditionError: It has ended.
            ConflictError: The request id was used: no secret is shown twice.
            EnvironmentFailure: It could not be recorded, or not be kept: nothing was changed.
        """
        check_request_id(request_id)
        overlap = _span(overlap_s, default=0, least=0, most=MAX_OVERLAP_S, what="overlap")

        async def rotate() -> IssuedToken:
            await self._check_fresh(request_id)
            old = self._live(token_id)
            secret = new_secret(old.id)
            now_ns = self._clock.wall_ns()
            until_ns = min(now_ns + overlap * NS_PER_SECOND, old.expire_time_ns) if overlap else 0
            new = replace(
                old,
                hash=digest_of(secret),
                previous_hash=old.hash,
                previous_expire_time_ns=until_ns,
                rotate_time_ns=now_ns,
            )
            await self._record("rotated", new, caller, request_id, overlap_s=overlap)
            was_it = await asyncio.to_thread(
                self._store.rotate,
                new,
                replaced=old.hash,
                request_id=request_id,
                what=f"rotate {new.id} {now_ns}",
            )
            now = self._live(token_id)  # it may have been revoked, or used, in the meantime
            if not was_it or now.hash != old.hash:
                raise PreconditionError("the token was changed by somebody else")
            self._keep(replace(new, use_time_ns=now.use_time_ns))
            return IssuedToken(token=self._tokens[new.id], secret=secret)

        return await self._whole(rotate)

    async def revoke(
        self, token_id: str, *, request_id: str, reason: str, caller: Operator
    ) -> ApiToken:
        """End a token for good, at its very next call (law 4).

        Raises:
            UntrustedInputError: The order is not well formed.
            NotFoundError: There is no such token.
            ConflictError: The request id was used for something else.
            EnvironmentFailure: It has ended, but that could not be recorded, or not be kept: after a
                restart it would work again. Revoke it again.
        """
        check_request_id(request_id)
        why = _text(reason, what="a reason", most=MAX_REASON)
        known = self._get(token_id)
        what = f"revoke {known.id}"
        await self._check_same(request_id, what)
        known = self._get(token_id)
        if known.revoke_time_ns and known.id not in self._unsaved:
            return known
        if not known.revoke_time_ns:
            known = replace(
                known,
                revoke_time_ns=self._clock.wall_ns(),
                revoker=caller.name,
                revoke_reason=why,
            )
            self._unsaved.add(known.id)
            self._keep(known)

        async def revoke() -> ApiToken:
            if known.id in self._unsaved:
                try:
                    await self._record("revoked", known, caller, request_id, reason=why)
                finally:
                    await asyncio.to_thread(
                        self._store.revoke, known, request_id=request_id, what=what
                    )
                self._unsaved.discard(known.id)
            return self._tokens[known.id]

        return await self._whole(revoke)

    def list(self, *, is_with_ended: bool) -> Sequence[ApiToken]:
        """Return tokens, newest first.

        Raises:
            EnvironmentFailure: They cannot be read.
        """
        self._check_readable()
        return sorted(
            (token for token in self._tokens.values() if is_with_ended or self._is_active(token)),
            key=lambda token: (-token.create_time_ns, token.id),
        )

    def state_of(self, token: ApiToken) -> TokenState:
        """Return where *token* stands now."""
        state = token.state_at(self._clock.wall_ns())
        if state is TokenState.ACTIVE and self._is_over(token, token.expire_time_ns):
            return TokenState.EXPIRED
        return state

    def is_previous_alive(self, token: ApiToken) -> bool:
        """Return whether the secret before the last rotation still works."""
        return self._is_active(token) and not self._is_over(token, token.previous_expire_time_ns)

    # -- private --------------------------------------------------------------------------------

    def _is_active(self, token: ApiToken) -> bool:
        return self.state_of(token) is TokenState.ACTIVE

    def _keep(self, token: ApiToken) -> None:
        self._tokens[token.id] = token
        known = self._deadlines.get(token.id, {})
        ahead_ns = self._clock.boot_ns() - self._clock.wall_ns()
        ends = (token.expire_time_ns, token.previous_expire_time_ns)
        self._deadlines[token.id] = {end: known.get(end, end + ahead_ns) for end in ends}

    def _is_over(self, token: ApiToken, end_ns: int) -> bool:
        """Return whether *end_ns*, one of the token's own, is over by either clock (law 3)."""
        boot_end_ns = self._deadlines[token.id].get(end_ns, 0)  # one it had before is over
        return self._clock.wall_ns() >= end_ns or self._clock.boot_ns() >= boot_end_ns

    async def _whole(self, change: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run *change* after those before it, and to its end also if nobody waits for it any more."""

        async def alone() -> T:
            async with self._changing:
                return await change()

        task = asyncio.create_task(alone())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _check_fresh(self, request_id: str) -> None:
        self._check_readable()
        if await asyncio.to_thread(self._store.order_of, request_id):
            raise ConflictError(
                "this request id was used before, and a secret is shown only once",
                reason=ErrorReason.REQUEST_ID_CONFLICT,
                hint="list the tokens; revoke the one whose secret was lost, and make a new one",
            )

    async def _check_same(self, request_id: str, what: str) -> None:
        try:
            order = await asyncio.to_thread(self._store.order_of, request_id)
        except EnvironmentFailure:
            return  # law 4: tightening does not wait for a store that works
        if order not in ("", what):
            raise ConflictError(
                "this request id was used before, for another order",
                reason=ErrorReason.REQUEST_ID_CONFLICT,
                hint="use a fresh request id for each order",
            )

    def _check_readable(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _get(self, token_id: str) -> ApiToken:
        self._check_readable()
        token = self._tokens.get(token_id) if is_id(token_id) else None
        if token is None:
            raise NotFoundError("there is no such API token", hint="holdfast api-tokens list --all")
        return token

    def _live(self, token_id: str) -> ApiToken:
        token = self._get(token_id)
        state = self.state_of(token)
        if state is not TokenState.ACTIVE:
            raise PreconditionError(
                f"the API token {token.id} is {state.value}", hint="make a new one"
            )
        return token

    def _operator(self, name: str) -> Operator:
        found = next((item for item in self._operators() if item.name == name), None)
        if found is None:
            raise NotFoundError(
                "there is no operator of this name in force",
                hint="operators are named in operators.yaml; names are exact",
            )
        return found

    async def _record(
        self, event: str, token: ApiToken, caller: Operator, request_id: str, **more: Any
    ) -> None:
        log.info(
            "API token changed",
            change=event,
            name=token.name,
            operator=token.operator,
            author=caller.name,
        )
        await self._audit.append(
            AUDIT_KIND,
            {
                "event": event,
                "api_token": token.id,
                "operator": token.operator,
                "author": caller.name,
                "request_id": request_id,
                **more,
            },
        )


def _nobody() -> RefusedError:
    """Law 5."""
    return RefusedError(
        "this is no API token of this control",
        reason=ErrorReason.UNAUTHENTICATED,
        hint="send it once, as `authorization: Bearer hfat_…`; it may have been made elsewhere",
    )


def _time_text(wall_ns: int) -> str:
    return datetime_of(wall_ns).strftime("%Y-%m-%dT%H:%M:%SZ")


def _bad(message: str, hint: str) -> UntrustedInputError:
    return UntrustedInputError(message, reason=ErrorReason.INVALID_ARGUMENT, hint=hint)


def _permissions(names: Collection[str]) -> frozenset[Role]:
    grantable = ", ".join(sorted(GRANTABLE))
    if not names:
        raise _bad("a token needs at least one permission", f"one of {grantable}")
    known = {role.value: role for role in GRANTABLE}
    for name in names:
        if name not in known:
            raise _bad(
                "one of the permissions cannot be given to a token", f"these can: {grantable}"
            )
    return frozenset(known[name] for name in names)


def _agents(names: Collection[str]) -> frozenset[str]:
    if len(names) > MAX_AGENTS:
        raise _bad(f"a token is limited to at most {MAX_AGENTS} agents", "or to none at all")
    return frozenset(str(check_agent_id(name)) for name in names)


def _text(text: str, *, what: str, most: int) -> str:
    if not text.strip() or len(text) > most or not text.isprintable():
        raise _bad(
            f"{what} is needed, of at most {most} characters",
            "one line, without control characters",
        )
    return text


def _span(seconds: float | None, *, default: int, least: int, most: int, what: str) -> int:
    if seconds is None:
        return default
    if not least <= seconds <= most:
        raise _bad(f"{what} is out of bounds", f"{least} to {most} seconds")
    return int(seconds)
