# SPDX-License-Identifier: Apache-2.0
"""Which tokens are revoked.

Laws:

1. A rule is the conjunction of the selectors it was given; a token is revoked if any rule matches
   all of its own. A rule that selects nothing does not exist.
2. A token is named by (issuer, token id) and by its claims, never by its text.
3. ``issued_before_s = T`` matches what began at or before T: ``iat <= T``, or ``auth_time <= T``
   where the issuer says when the login was. No leeway and no local clock enters the comparison.
4. A rule for an agent or an issuer always has a T, by default the second in which it was made: it
   ends what was issued so far and lets a token issued after a release work. A rule for a token id
   or for a session needs none: that token, or that session with everything refreshed in it (they
   share ``sid``), is over for good.
5. Adding only tightens. A reader that holds the set while a rule is added sees at worst the newer
   revocation, so one set can be shared and nothing is copied.
6. No rule leaves while a token it revokes could still be admitted. A token-id rule leaves
   ``MAX_TOKEN_LIFE_S + MAX_SKEW_S`` after the latest of its making, its T and the token's expiry
   as far as known. Other rules stay for ever, because refreshing can carry a session or a login on
   without end, unless somebody stated an ``expire_time_s``: then they leave as late after that.
   Of rules with equal selectors only the one that covers the others is kept, so what stays for
   ever is bounded by the number of agents, issuers and revoked sessions.
7. A set that is not yet known, or that had to drop a rule because it is full, matches every token.

Compatibility: ``RevocationRule`` fields may be added with a default that selects nothing; none may
be renamed or change its meaning, since stored rules must go on to bite.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Self, TypeAlias

from sidecar.clock import NS_PER_SECOND, datetime_of
from sidecar.errors import ErrorReason, UntrustedInputError
from sidecar.model import ReasonCode
from sidecar.tokens.claims import MAX_CLAIM_TIME_S, Rejection, VerifiedToken
from sidecar.tokens.issuers import MAX_TOKEN_LIFE_S

__all__ = ["MAX_ENTRIES", "MAX_SKEW_S", "RevocationRule", "RevocationSet", "merged"]

MAX_ENTRIES: Final = 1_000_000
MAX_SKEW_S: Final = 3600
"""How far the clocks of control, gates and issuers may ever be apart when a rule is pruned."""

_TEXT: Final = re.compile(r"[\x21-\x7e]{1,512}")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MAX_NOTE_CHARS: Final = 4096
_ALWAYS: Final = 2**63 - 1
_ENTRY: Final = struct.Struct("<Qqq")  # epoch, issued before, leaves after
_BUCKET_S: Final = 3600
_KEY_BYTES: Final = 16

_JTI, _AGENT, _SESSION, _ISSUER = 1, 2, 4, 8
_Key: TypeAlias = bytes | tuple[str, str]
_Table: TypeAlias = dict[_Key, bytes]

_NOT_READY: Final = Rejection(
    code=ReasonCode.NOT_READY, text="the revocations are not loaded yet, so no token counts"
)
_FULL: Final = Rejection(
    code=ReasonCode.NOT_READY, text="there are more revocations than fit, so no token counts"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationRule:
    """One revocation. Selectors that are None select everything.

    Attributes:
        jti: A token id, normally together with ``issuer``.
        agent: An agent's id.
        session: A ``sid`` claim.
        issuer: An ``iss`` claim, exactly (not the issuer's name in the configuration).
        issued_before_s: Wall second up to which issued tokens are revoked, that second included.
        author: Who revoked, for people.
        reason: Why, for people. Neither is ever shown to an agent.
        epoch: The epoch that the revocation raised.
        create_time_ns: Wall time of the revocation.
        expire_time_s: When the revoked token or session expires by itself, if that is known.

    Raises:
        UntrustedInputError: It selects nothing, or a selector can match no admissible token.
    """

    jti: str | None = None
    agent: str | None = None
    session: str | None = None
    issuer: str | None = None
    issued_before_s: int | None = None
    author: str
    reason: str
    epoch: int
    create_time_ns: int
    expire_time_s: int | None = None

    def __post_init__(self) -> None:
        for text in (self.jti, self.agent, self.session, self.issuer):
            if text is not None and _TEXT.fullmatch(text) is None:
                raise _bad("a revocation's selectors are 1 to 512 printable ASCII characters")
        if self._mask == 0 and self.issued_before_s is None:  # law 1
            raise _bad("a revocation selects something")
        for seconds in (self.issued_before_s, self.expire_time_s):
            if seconds is not None and not 0 <= seconds <= MAX_CLAIM_TIME_S:
                raise _bad("a revocation's times are between 0 and 2^53 seconds")
        if not (0 <= self.create_time_ns < 2**63 and 0 <= self.epoch < 2**63):
            raise _bad("a revocation's epoch and creation time have 63 bits")
        for note in (self.author, self.reason):
            if len(note) > _MAX_NOTE_CHARS or _SURROGATE.search(note) is not None:
                raise _bad(f"author and reason are at most {_MAX_NOTE_CHARS} characters of text")
        if self.jti is None and self.session is None and self.issued_before_s is None:  # law 4
            object.__setattr__(self, "issued_before_s", self._create_s)

    def matches(self, claims: VerifiedToken) -> bool:
        """Return whether this rule revokes the token with these *claims* (laws 1 to 3)."""
        return (
            (self.jti is None or self.jti == claims.jti)
            and (self.agent is None or self.agent == claims.agent)
            and (self.session is None or self.session == claims.session)
            and (self.issuer is None or self.issuer == claims.issuer)
            and (self.issued_before_s is None or claims.origin_time_s <= self.issued_before_s)
        )

    def leave_time_s(self) -> int | None:
        """Return the wall second after which the rule can be dropped; None if never (law 6)."""
        if self.jti is None and self.expire_time_s is None:
            return None
        latest = max(self._create_s, self.issued_before_s or 0, self.expire_time_s or 0)
        return latest + MAX_TOKEN_LIFE_S + MAX_SKEW_S

    def describe(self) -> str:
        """Return the rule as people write it: ``tokens of agent banking, issued up to …``."""
        parts = [f"token {self.jti}"] if self.jti is not None else ["tokens"]
        if self.agent is not None:
            parts.append(f"of agent {self.agent}")
        if self.session is not None:
            parts.append(f"in session {self.session}")
        if self.issuer is not None:
            parts.append(f"from issuer {self.issuer}")
        if self.issued_before_s is not None:
            parts.append(f"issued up to {_date(self.issued_before_s)}")
        return " ".join(parts)

    @property
    def _create_s(self) -> int:
        return self.create_time_ns // NS_PER_SECOND

    @property
    def _mask(self) -> int:
        return (
            (_JTI if self.jti is not None else 0)
            | (_AGENT if self.agent is not None else 0)
            | (_SESSION if self.session is not None else 0)
            | (_ISSUER if self.issuer is not None else 0)
        )


def merged(held: RevocationRule, added: RevocationRule) -> RevocationRule:
    """Return the one rule that stands for two with equal selectors (law 6).

    It revokes what either revokes and leaves no earlier than either.
    """
    is_covered = held.issued_before_s is None or (
        added.issued_before_s is not None and added.issued_before_s <= held.issued_before_s
    )
    winner = held if is_covered else added
    held_leave_s, added_leave_s = held.leave_time_s(), added.leave_time_s()
    if held_leave_s is None or added_leave_s is None:
        return replace(winner, expire_time_s=None)
    latest_s = max(held_leave_s, added_leave_s)
    if winner.leave_time_s() == latest_s:
        return winner
    return replace(winner, expire_time_s=latest_s - MAX_TOKEN_LIFE_S - MAX_SKEW_S)


class RevocationSet:
    """All standing rules, for a check of a microsecond or so per shape of rule in use.

    Each of the sixteen possible shapes (which selectors a rule has) has its own table, keyed by the
    values selected. Token ids and sessions are kept as 128-bit digests of their length-prefixed
    text, so a million entries take a known amount of memory however long the ids are; a collision
    would revoke one token too many.

    Args:
        max_entries: How many rules fit; one more makes the set match every token (law 7).
        is_known: False for a set whose standing rules are still to come.
    """

    def __init__(self, *, max_entries: int = MAX_ENTRIES, is_known: bool = True) -> None:
        self._max_entries = max_entries
        self._shapes: tuple[tuple[int, _Table], ...] = ()
        self._leaving: dict[tuple[int, int], list[_Key]] = {}
        self._count = 0
        self._epoch = 0
        self._is_known = is_known
        self._is_full = False

    @classmethod
    def empty(cls) -> Self:
        """Return a set that knows that nothing is revoked."""
        return cls()

    @classmethod
    def unknown(cls) -> Self:
        """Return a set that matches every token until ``mark_known``."""
        return cls(is_known=False)

    def __len__(self) -> int:
        return self._count

    @property
    def epoch(self) -> int:
        """The highest epoch of any rule that was added."""
        return self._epoch

    @property
    def is_ready(self) -> bool:
        """Whether the set may say that a token is not revoked."""
        return self._is_known and not self._is_full

    def mark_known(self) -> None:
        """Say that every rule that stood at the start has been added."""
        self._is_known = True

    def add(self, rule: RevocationRule) -> None:
        """Let *rule* bite from now on. Adding a rule again changes nothing."""
        self._epoch = max(self._epoch, rule.epoch)
        mask = rule._mask
        table = self._table(mask)
        key = _key(mask, rule.jti or "", rule.agent or "", rule.session or "", rule.issuer or "")
        leave_time_s = rule.leave_time_s()
        leave_s = _ALWAYS if leave_time_s is None else leave_time_s
        before_s = _ALWAYS if rule.issued_before_s is None else rule.issued_before_s
        epoch = rule.epoch
        is_leaving_later = True
        held = table.get(key)
        if held is not None:  # law 6: keep what covers both
            held_epoch, held_before_s, held_leave_s = _ENTRY.unpack(held)
            if held_before_s >= before_s:
                epoch, before_s = held_epoch, held_before_s
            is_leaving_later = leave_s > held_leave_s
            leave_s = max(leave_s, held_leave_s)
        elif self._count >= self._max_entries:  # law 7: never forget one to fit another
            self._is_full = True
            return
        else:
            self._count += 1
        table[key] = _ENTRY.pack(epoch, before_s, leave_s)
        if is_leaving_later and leave_s != _ALWAYS:
            self._leaving.setdefault((leave_s // _BUCKET_S, mask), []).append(key)

    def with_rules(self, rules: Iterable[RevocationRule]) -> Self:
        """Let all *rules* bite and return the set: this very one, for whoever holds it (law 5)."""
        for rule in rules:
            self.add(rule)
        return self

    def match(self, claims: VerifiedToken) -> Rejection | None:
        """Return why the token with these *claims* does not count, or None if it does."""
        if not self._is_known:  # law 7
            return _NOT_READY
        if self._is_full:
            return _FULL
        for mask, table in self._shapes:
            if mask & _SESSION and not claims.session:
                continue
            key = _key(mask, claims.jti, claims.agent, claims.session, claims.issuer)
            entry = table.get(key)
            if entry is None:
                continue
            epoch, before_s, _ = _ENTRY.unpack(entry)
            if claims.origin_time_s <= before_s:  # law 3
                return Rejection(
                    code=ReasonCode.TOKEN_REVOKED, text=f"the token was revoked in epoch {epoch}"
                )
        return None

    def prune(self, *, now_s: int) -> int:
        """Drop the rules that no admissible token needs any more; return how many (law 6).

        Rules leave up to an hour after their time, an hour's worth at once.
        """
        tables = dict(self._shapes)
        dropped = 0
        for bucket, mask in [at for at in self._leaving if (at[0] + 1) * _BUCKET_S <= now_s]:
            table = tables[mask]
            for key in self._leaving.pop((bucket, mask)):
                entry = table.get(key)
                if entry is not None and _ENTRY.unpack(entry)[2] < now_s:
                    del table[key]
                    dropped += 1
        self._count -= dropped
        return dropped

    def _table(self, mask: int) -> _Table:
        for known, table in self._shapes:
            if known == mask:
                return table
        fresh: _Table = {}
        self._shapes = (*self._shapes, (mask, fresh))
        return fresh


def _key(mask: int, jti: str, agent: str, session: str, issuer: str) -> _Key:
    """Return what a rule of shape *mask* is filed under; never joined without lengths."""
    if not mask & (_JTI | _SESSION):
        return (agent if mask & _AGENT else "", issuer if mask & _ISSUER else "")
    parts = []
    if mask & _JTI:
        parts.append(f"{len(jti)}:{jti}")
    if mask & _AGENT:
        parts.append(f"{len(agent)}:{agent}")
    if mask & _SESSION:
        parts.append(f"{len(session)}:{session}")
    if mask & _ISSUER:
        parts.append(f"{len(issuer)}:{issuer}")
    return hashlib.blake2b("".join(parts).encode(), digest_size=_KEY_BYTES).digest()


def _date(seconds: int) -> str:
    try:
        return datetime_of(seconds * NS_PER_SECOND).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):  # beyond year 9999
        return f"second {seconds}"


def _bad(message: str) -> UntrustedInputError:
    return UntrustedInputError(message, reason=ErrorReason.INVALID_ARGUMENT)
