# SPDX-License-Identifier: Apache-2.0
"""What every platform must show, one scenario at a time, against a live control.

A scenario runs actions through a platform's runner and then looks twice: at what the platform says,
and at what is so on the host. The two must agree, and neither may hold a secret.
"""

from __future__ import annotations

import json
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, TypeVar

from tests.soar.host import SoarBed
from tests.soar.runners.base import Asset, Outcome, Runner
from tests.soar.servers import SlowServer
from tests.support.certificates import Authority
from tests.support.clients import new_id
from tests.support.polling import eventually_sync

__all__ = ["EXPIRY_S", "SCENARIOS", "Cell", "Rig", "Scenario", "ask_of_nobody"]

_T = TypeVar("_T")
EXPIRY_S: Final = 30
"""The shortest wait for a human that a bundle may ask for."""
_STATUSES: Final = ("SUCCESS", "PENDING", "PARTIAL", "FAILED")
_ALLOWED: Final = "ALLOW POLICY_ALLOW"
_KILLED: Final = "DENY KILLED"
_STATED_TOTAL_S: Final = 30
"""What the actions of the scenarios state as their deadline, retries included."""
_STARTING_S: Final = 20
"""What a platform's own process may take beside that on a machine with other things to do."""


@dataclass
class Rig:
    """Everything that scenarios are played against.

    Attributes:
        main: A host whose gate answers.
        brief: A host where nobody has longer than ``EXPIRY_S`` to decide.
        fleet: A host with two gates, of which one is stopped.
        stranger: A CA that issued nothing here.
        slow: Answers too slowly, with a good certificate.
        expired: The secret of a token whose time is over.
        asked: What was asked of a human who will not decide, by runner; it is looked at last.
    """

    main: SoarBed
    brief: SoarBed
    fleet: SoarBed
    stranger: Authority
    slow: SlowServer
    expired: str
    asked: dict[str, Asked] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """A request that nobody will decide."""

    agent: str
    key: str
    parameters: Mapping[str, str]
    outcome: Outcome


class Cell:
    """One runner in one scenario: runs actions and keeps what the platform let out."""

    def __init__(self, rig: Rig, runner: Runner) -> None:
        self.rig = rig
        self.runner = runner
        self.key = f"run-{new_id()}"
        self.seen: list[str] = []
        self.used: list[Asset] = []

    @property
    def bed(self) -> SoarBed:
        """The host of most scenarios."""
        return self.rig.main

    def asset(self, *permissions: str, bed: SoarBed | None = None) -> Asset:
        """Return what an administrator configures; with everything that playbooks need."""
        is_grpc = getattr(self.runner, "is_grpc", False)
        operator = "soar-contain" if permissions == ("contain",) else "soar-all"
        return (bed or self.bed).asset(operator, *permissions, is_grpc=is_grpc)

    def run(
        self,
        slug: str,
        parameters: Mapping[str, str],
        *,
        asset: Asset | None = None,
        key: str = "",
    ) -> Outcome:
        """Run an action through the platform and return how it ended."""
        configured = asset or self.asset()
        self.used.append(configured)
        outcome = self.runner.run(slug, parameters, asset=configured, key=key or self.key)
        self.seen += [outcome.native, json.dumps(dict(outcome.data), default=str)]
        assert outcome.status in _STATUSES, outcome
        return outcome

    def contain(self, agent: str, *, level: str = "KILL", **more: Any) -> Outcome:
        """Run contain-agent."""
        return self.run("contain-agent", contain_parameters(agent, level), **more)

    def leaks(self) -> list[str]:
        """Return which secrets the platform let out, by name."""
        text = "\n".join(self.seen)
        found = []
        for asset in self.used:
            for name, secret in secrets_of(asset).items():
                if secret in text and name not in found:
                    found.append(name)
        return found


def contain_parameters(agent: str, level: str = "KILL") -> dict[str, str]:
    """Return the parameters of contain-agent."""
    return {"agent": agent, "level": level, "reason": "conformance"}


def secrets_of(asset: Asset) -> dict[str, str]:
    """Return what of *asset* must never be seen again, by name; the parts count too."""
    found: dict[str, str] = {}
    if asset.api_token:
        found["the API token"] = asset.api_token
        # `hfat_<id>_<secret>`: the id is no secret.
        found["the secret part of the API token"] = asset.api_token.split("_", 2)[-1]
    lines = [line for line in asset.client_key.splitlines() if line and "-----" not in line]
    if lines:
        found["the private key"] = lines[0]
    return found


# -- the scenarios --------------------------------------------------------------------------------


def _ok(cell: Cell) -> None:
    """What is ordered is done, and the platform says so."""
    agent = cell.bed.fresh_agent()
    tried = cell.run("test-connectivity", {})
    outcome = cell.contain(agent)
    looked = cell.run("get-agent", {"agent": agent})

    assert tried.status == "SUCCESS", tried
    assert outcome.status == "SUCCESS", outcome
    assert looked.status == "SUCCESS", looked
    assert cell.bed.verdict(agent) == _KILLED
    assert len(cell.bed.directives_on(agent)) == 1


def _not_found(cell: Cell) -> None:
    """Nobody is contained by a name that nobody has."""
    outcome = cell.run("get-agent", {"agent": "no-such-agent"})

    _assert_failed(outcome, "NOT_FOUND")


def _denied(cell: Cell) -> None:
    """A token that may contain may not release."""
    agent = cell.bed.fresh_agent()
    _assert_success(cell.contain(agent, asset=cell.asset("contain")))
    epoch = _only(cell.bed.directives_on(agent)).epoch

    outcome = cell.run(
        "release-agent",
        {"epoch": str(epoch), "reason": "conformance"},
        asset=cell.asset("contain"),
    )

    _assert_failed(outcome, "REFUSED", reasons=["PERMISSION_MISSING"])
    assert cell.bed.verdict(agent) == _KILLED


def _pending_granted(cell: Cell) -> None:
    """It waits for a human, does nothing before, and is done once when it is granted."""
    agent = cell.bed.fresh_guarded()
    asked = cell.contain(agent)
    before = cell.bed.verdict(agent)
    operation = _only(cell.bed.waiting_on(agent))
    again = cell.contain(agent)
    cell.bed.decide(operation.name, "GRANT")
    told = cell.run("get-operation", {"operation": operation.name})
    done = cell.contain(agent)

    assert [asked.status, again.status] == ["PENDING", "PENDING"], (asked, again)
    assert operation.name in json.dumps(dict(asked.data)) + asked.native
    assert before == _ALLOWED
    assert told.status == "SUCCESS", told
    assert done.status == "SUCCESS", done
    assert cell.bed.verdict(agent) == _KILLED
    assert len(cell.bed.directives_on(agent)) == 1


def _pending_refused(cell: Cell) -> None:
    """A human says no: nothing is done, and the platform says whose no it was."""
    agent = cell.bed.fresh_guarded()
    asked = cell.contain(agent)
    cell.bed.decide(_only(cell.bed.waiting_on(agent)).name, "REFUSE")
    outcome = cell.contain(agent)

    assert asked.status == "PENDING", asked
    _assert_failed(outcome, "REFUSED", reasons=["APPROVAL_REFUSED"])
    assert "only-approve" in json.dumps(dict(outcome.data), default=str) + outcome.native
    assert cell.bed.verdict(agent) == _ALLOWED


def ask_of_nobody(cell: Cell) -> Asked:
    """Ask for what nobody will decide; ``pending_expired`` looks at it when its time is over."""
    bed = cell.rig.brief
    agent = bed.fresh_guarded()
    try:
        outcome = cell.contain(agent, asset=cell.asset(bed=bed))
    except Exception:  # noqa: BLE001 - a runner that is broken fails in its own cell
        outcome = Outcome("FAILED", native=traceback.format_exc())
    return Asked(agent=agent, key=cell.key, parameters=contain_parameters(agent), outcome=outcome)


def _pending_expired(cell: Cell) -> None:
    """Nobody decides: it ends by itself, closed, and stays ended."""
    bed = cell.rig.brief
    asked = cell.rig.asked[cell.runner.runner]
    assert asked.outcome.status == "PENDING", asked.outcome
    eventually_sync(lambda: not bed.waiting_on(asked.agent), EXPIRY_S + 15)

    outcome = cell.run("contain-agent", asked.parameters, asset=cell.asset(bed=bed), key=asked.key)

    _assert_failed(outcome, "REFUSED", reasons=["APPROVAL_EXPIRED"])
    assert bed.verdict(asked.agent) == _ALLOWED


def _duplicate_same_key(cell: Cell) -> None:
    """The same step of the same playbook run, run again, has one effect."""
    agent = cell.bed.fresh_agent()
    outcomes = [cell.contain(agent) for _ in range(2)]

    assert [outcome.status for outcome in outcomes] == ["SUCCESS", "SUCCESS"], outcomes
    assert len(cell.bed.directives_on(agent)) == 1


def _same_key_other_parameters(cell: Cell) -> None:
    """A key that was used for one agent is not taken for another one."""
    first, second, key = cell.bed.fresh_agent(), cell.bed.fresh_agent(), new_id()
    outcomes = [
        cell.run("contain-agent", {**contain_parameters(agent), "idempotency_key": key})
        for agent in (first, second)
    ]

    _assert_success(outcomes[0])
    _assert_failed(outcomes[1], "CONFLICT", reasons=["REQUEST_ID_CONFLICT"])
    assert [cell.bed.verdict(agent) for agent in (first, second)] == [_KILLED, _ALLOWED]


def _partial_fleet(cell: Cell) -> None:
    """A gate that does not acknowledge is named, and nobody is told that all is well."""
    bed = cell.rig.fleet
    agent = bed.fresh_agent()
    outcome = cell.contain(agent, asset=cell.asset(bed=bed))

    assert outcome.status == "PARTIAL", outcome
    assert "lagging" in json.dumps(dict(outcome.data), default=str) + outcome.native
    assert bed.verdict(agent) == _KILLED


def _control_down(cell: Cell) -> None:
    """Nobody listens: unavailable, and worth another try with the same key."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        address = f"127.0.0.1:{found.getsockname()[1]}"
    outcome = cell.contain(
        cell.bed.fresh_agent(), asset=replace(cell.asset(), endpoint=f"https://{address}")
    )

    _assert_failed(outcome, "UNAVAILABLE", retryable=True)


def _wrong_certificate(cell: Cell) -> None:
    """Control's certificate is not of the CA that was configured: it is not even sent the token."""
    agent = cell.bed.fresh_agent()
    outcome = cell.contain(
        agent, asset=replace(cell.asset(), ca_certificate=cell.rig.stranger.pem.decode())
    )

    assert outcome.status == "FAILED", outcome
    assert outcome.error_class in ("UNAVAILABLE", "REFUSED", "BAD_INPUT"), outcome
    assert cell.bed.verdict(agent) == _ALLOWED


def _expired_token(cell: Cell) -> None:
    """A token whose time is over opens nothing."""
    agent = cell.bed.fresh_agent()
    outcome = cell.contain(agent, asset=replace(cell.asset(), api_token=cell.rig.expired))

    _assert_failed(outcome, "REFUSED")
    assert cell.bed.verdict(agent) == _ALLOWED


def _slow_server(cell: Cell) -> None:
    """Whoever drips an answer for ever holds no worker longer than the action states."""
    began = time.monotonic()
    outcome = cell.contain(
        cell.bed.fresh_agent(),
        asset=replace(
            cell.asset(), endpoint=f"https://{cell.rig.slow.address}", timeout_seconds="1"
        ),
    )
    took = timedelta(seconds=time.monotonic() - began)

    _assert_failed(outcome, "UNAVAILABLE", retryable=True)
    assert took < timedelta(seconds=_STATED_TOTAL_S + _STARTING_S)


# -- what they have in common ---------------------------------------------------------------------


def _assert_success(outcome: Outcome) -> None:
    assert outcome.status == "SUCCESS", outcome


def _assert_failed(
    outcome: Outcome,
    error_class: str,
    *,
    reasons: list[str] | None = None,
    retryable: bool = False,
) -> None:
    assert (outcome.status, outcome.error_class) == ("FAILED", error_class), outcome
    assert outcome.is_retryable in (None, retryable), outcome
    assert not reasons or outcome.reason in reasons, outcome


def _only(found: list[_T]) -> _T:
    assert len(found) == 1, found
    return found[0]


@dataclass(frozen=True)
class Scenario:
    """One row of the matrix."""

    name: str
    play: Callable[[Cell], None]

    @property
    def meaning(self) -> str:
        """What it shows, in a sentence."""
        return (self.play.__doc__ or "").strip()


SCENARIOS: Final = tuple(
    Scenario(play.__name__.removeprefix("_"), play)
    for play in (
        _ok,
        _not_found,
        _denied,
        _pending_granted,
        _pending_refused,
        _duplicate_same_key,
        _same_key_other_parameters,
        _partial_fleet,
        _control_down,
        _wrong_certificate,
        _expired_token,
        _slow_server,
        _pending_expired,  # last: by then its time is over
    )
)
