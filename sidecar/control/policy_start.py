# SPDX-License-Identifier: Apache-2.0
"""Which bundle decides when control starts: a restart is no second human.

Laws:

1. What lies in the bundle's directory comes into force by a start only if it cannot permit more than
   what is in force, or if nothing ever was. Otherwise what is in force stays, and a warning says so:
   a reload asks the second human.
2. What is in force is what the latch names; a latch that was lost and made anew names nothing, then
   it is what was archived last.
3. If that bundle cannot be read, nobody can say what would be loosened: control does not start,
   unless whoever starts it names the digest to accept. That counts then only: left in a unit file, it
   lets nobody back to an older bundle.
4. In development the directory decides; a warning says what would be otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from sidecar.control.policy_archive import PolicyArchive
from sidecar.errors import ConfigurationError, EnvironmentFailure
from sidecar.policy.bundle import Bundle
from sidecar.policy.compare import may_permit_more
from sidecar.policy.engine import PolicyEngine

__all__ = ["CONTROL", "LOCAL_START", "PolicyAtStart", "policy_at_start"]

CONTROL: Final = "control"
LOCAL_START: Final = "local start"
"""Who let a bundle come into force: control by itself, or whoever named it on the command line."""

_REASONS_SHOWN: Final = 10
_REMEDY: Final = "run `holdfast policy reload`; a second human must grant it"
log = structlog.get_logger("holdfast.control")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyAtStart:
    """The bundle that decides, who let it, and for which reasons the directory's does not."""

    bundle: Bundle
    engine: PolicyEngine
    author: str = CONTROL
    set_aside: str = ""
    reasons: Sequence[str] = ()


def policy_at_start(
    found: Bundle,
    engine: PolicyEngine,
    *,
    directory: Path,
    archive: PolicyArchive,
    named: str,
    is_dev: bool,
    accepted: str = "",
) -> PolicyAtStart:
    """Return what decides from this start on. Reads, compares and may save: call it in a thread.

    Args:
        found: What the bundle's directory holds.
        engine: That of *found*.
        directory: Where that is, for messages.
        archive: Where the bundle in force is kept.
        named: The digest that the latch names; empty if it names none.
        is_dev: Whether this is development (law 4).
        accepted: The digest that whoever starts control accepts (law 3).

    Raises:
        ConfigurationError: The directory holds another bundle than the one in force, and that one
            cannot be read.
    """
    at_start = PolicyAtStart(bundle=found, engine=engine)
    in_force = named or archive.latest()
    if in_force in ("", found.digest):
        if named == found.digest:
            _keep(archive, found)
        return at_start
    old = archive.load(in_force)
    if is_dev:
        if old is None or may_permit_more(old, found)[0]:
            log.warning("DEVELOPMENT: a bundle came into force that may permit more than before",
                        digest=found.digest, digest_before=in_force)  # fmt: skip
        return at_start
    if old is None:
        return _accepted(at_start, accepted, directory=directory, in_force=in_force)
    is_more, reasons = may_permit_more(old, found)
    if not is_more:
        return at_start
    log.warning(
        "the bundle in the directory may permit more: the one in force stays",
        directory=str(directory),
        directory_digest=found.digest,
        digest_in_force=in_force,
        reasons=reasons[:_REASONS_SHOWN],
        remedy=_REMEDY,
    )
    return PolicyAtStart(
        bundle=old,
        engine=PolicyEngine(old),
        set_aside=found.digest,
        reasons=reasons[:_REASONS_SHOWN],
    )


def _keep(archive: PolicyArchive, bundle: Bundle) -> None:
    """Save what is in force if it is not there: the state is older than the archive, or damaged."""
    if archive.holds(bundle.digest):
        return
    try:
        archive.save(bundle, in_force=bundle.digest)
    except EnvironmentFailure as exc:  # a kill must still be possible; the next start tries again
        log.error("the bundle in force could not be saved", problem=str(exc))


def _accepted(
    at_start: PolicyAtStart, accepted: str, *, directory: Path, in_force: str
) -> PolicyAtStart:
    digest = at_start.bundle.digest
    if accepted != digest:
        raise ConfigurationError(
            f"{directory} holds the bundle {digest}, in force is {in_force}, and that one cannot be "
            "read to compare them",
            key="bundle",
            hint=f"put the bundle {in_force} back; or, having read what lies there, start once with "
            f"--accept-policy {digest}",
        )
    log.warning("a bundle was accepted on the command line, in place of a second human",
                digest=digest, digest_before=in_force)  # fmt: skip
    return PolicyAtStart(bundle=at_start.bundle, engine=at_start.engine, author=LOCAL_START)
