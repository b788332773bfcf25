# SPDX-License-Identifier: Apache-2.0
"""Reads what stands and what stood: dossiers first, then history and archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Final

from sidecar.containment.answers import DirectivePage
from sidecar.containment.dossier import Dossiers
from sidecar.containment.events import RevocationRule
from sidecar.containment.history import (
    DirectiveEntry,
    DirectiveState,
    HistoryStore,
    RequestNote,
    RevocationArchive,
)
from sidecar.containment.journal import ContainmentJournal
from sidecar.containment.mirror import Mirror
from sidecar.containment.orders import RevocationOrder
from sidecar.containment.rules import Fleet, covered_agents
from sidecar.errors import HoldfastError, NotFoundError
from sidecar.model import Directive, Target, TargetKind

__all__ = ["Lookup"]

_MAX_PAGE: Final = 1000
_MAX_REQUESTS: Final = 100_000
_NO_END: Final = 2**63 - 1


class Lookup:
    """Answers questions; changes nothing."""

    def __init__(
        self,
        *,
        journal: ContainmentJournal,
        dossiers: Dossiers,
        mirror: Mirror,
        history: HistoryStore,
        archive: RevocationArchive,
        fleet: Fleet,
    ) -> None:
        self._journal = journal
        self._dossiers = dossiers
        self._mirror = mirror
        self._history = history
        self._archive = archive
        self._fleet = fleet

    async def entry(self, epoch: int) -> DirectiveEntry:
        """Return the dossier of a directive.

        Raises:
            NotFoundError: There is no such directive.
            EnvironmentFailure: It is not in memory, and the history cannot be read.
        """
        entry = self._dossiers.find(epoch) or await self._mirror.read(
            partial(self._history.directive, epoch)
        )
        if entry is None:
            raise NotFoundError(f"there is no directive {epoch}")
        return entry

    async def page(
        self,
        *,
        include_ended: bool,
        before_epoch: int | None,
        limit: int,
        agent: str,
        target: Target | None = None,
    ) -> DirectivePage:
        """Return directives, newest first; see ``ContainmentService.list_directives``."""
        limit = max(1, min(limit, _MAX_PAGE))
        below = _NO_END if before_epoch is None else before_epoch
        fleet = self._fleet.agents()
        known = {entry.epoch: entry for entry in self._dossiers.all()}
        is_complete = True
        found: list[DirectiveEntry] = []
        while len(found) <= limit:
            older: Sequence[DirectiveEntry] = ()
            if include_ended and is_complete:
                try:
                    older = await self._mirror.read(
                        partial(
                            self._history.directives,
                            before_epoch=below,
                            limit=_MAX_PAGE,
                            include_ended=True,
                        )
                    )
                except HoldfastError:
                    is_complete = False
            # Beyond the last one that was read, the history may have more than memory has.
            down_to = older[-1].epoch if len(older) == _MAX_PAGE else 0
            part = {entry.epoch: entry for entry in older} | known
            found += [
                entry
                for epoch, entry in sorted(part.items(), reverse=True)
                if down_to <= epoch < below
                and (include_ended or entry.state is DirectiveState.ACTIVE)
                and (not agent or agent in covered_agents(entry.directive.target, fleet))
                and (target is None or entry.directive.target == target)
            ]
            below = down_to
            if not below:
                break
        shown = found[:limit]
        return DirectivePage(
            entries=tuple(shown),
            next_before_epoch=shown[-1].epoch if len(found) > limit else None,
            epoch=self._journal.next_epoch - 1,
            is_complete=is_complete,
        )

    async def rule(self, epoch: int, order: RevocationOrder) -> RevocationRule:
        """Return the rule that *order* made in *epoch*, or the wider one that took its place.

        Raises:
            NotFoundError: There is none any more: no token that it revoked can live.
            EnvironmentFailure: The archive cannot be read.
        """
        rule = self._journal.ledger.revocation(epoch)
        if rule is not None:
            return rule
        wanted = (order.jti, order.agent, order.session, order.issuer)
        for archived in await self._mirror.read(self._archive.load_all):
            selectors = (archived.jti, archived.agent, archived.session, archived.issuer)
            if tuple(selector or "" for selector in selectors) == wanted:
                return archived
        raise NotFoundError(f"revocation {epoch} has outlived the tokens it revoked")

    def remaining(self, entry: DirectiveEntry) -> tuple[Directive, ...]:
        """Return the standing directives that reach an agent that *entry* reached."""
        fleet = self._fleet.agents()
        reached = set(entry.agents)
        return tuple(
            directive
            for directive in self._journal.state.directives
            if directive.target == entry.directive.target
            or directive.target.kind is TargetKind.ALL
            or not reached.isdisjoint(covered_agents(directive.target, fleet))
        )

    def revocations(self) -> tuple[RevocationRule, ...]:
        """Return every rule a gate must know, oldest first; blocks.

        Raises:
            EnvironmentFailure: The archive cannot be read; nobody knows them all then.
        """
        rules = {rule.epoch: rule for rule in self._archive.load_all()}
        rules.update((rule.epoch, rule) for rule in self._journal.ledger.revocations)
        return tuple(rules[epoch] for epoch in sorted(rules))

    async def all_revocations(self) -> tuple[RevocationRule, ...]:
        """Return the same as ``revocations`` without blocking.

        The ledger belongs to the event loop, so only the archive is read elsewhere; and the ledger
        is read twice, because a rule may move from it to the archive meanwhile.
        """
        rules = {rule.epoch: rule for rule in self._journal.ledger.revocations}
        rules.update((rule.epoch, rule) for rule in await self._mirror.read(self._archive.load_all))
        rules.update((rule.epoch, rule) for rule in self._journal.ledger.revocations)
        return tuple(rules[epoch] for epoch in sorted(rules))

    async def remembered(self) -> tuple[dict[int, DirectiveEntry], Sequence[RequestNote]]:
        """Return what the history holds to be standing, and the request ids it knows.

        Raises:
            EnvironmentFailure: It cannot be read.
        """
        entries = await self._mirror.read(lambda: list(islice(self._standing(), _MAX_REQUESTS)))
        notes = await self._mirror.read(partial(self._history.requests, limit=_MAX_REQUESTS))
        return {entry.epoch: entry for entry in entries}, notes

    async def gates(self) -> Mapping[str, frozenset[str]]:
        """Return the gates of earlier runs.

        Raises:
            EnvironmentFailure: The history cannot be read.
        """
        return await self._mirror.read(self._history.gates)

    def _standing(self) -> Iterator[DirectiveEntry]:
        before: int | None = None
        while True:
            part = self._history.directives(
                before_epoch=before, limit=_MAX_PAGE, include_ended=False
            )
            yield from part
            if len(part) < _MAX_PAGE:
                return
            before = part[-1].epoch
