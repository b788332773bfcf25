# SPDX-License-Identifier: Apache-2.0
"""Latch, clock, logs and bundle: what decisions rest on."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sidecar.audit.note import parse_vkey
from sidecar.audit.reader import read_entries, signed_size
from sidecar.audit.recovery import recover
from sidecar.clock import NS_PER_SECOND, datetime_of
from sidecar.containment.events import decode_event
from sidecar.containment.machine import ContainmentState
from sidecar.doctor.result import CheckResult, Patient, failed, fine, from_error, warned
from sidecar.errors import EnvironmentFailure, HoldfastError, IntegrityError
from sidecar.latch.reader import NEVER_NS, LatchReader
from sidecar.policy.check import check_bundle, run_tests

__all__ = ["check_audit", "check_bundle_in_use", "check_clock", "check_latch"]

_ATTEMPTS: Final = 5
_SANE_SINCE: Final = datetime(2025, 1, 1, tzinfo=UTC)
_BACKWARDS_NS: Final = 5 * NS_PER_SECOND
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES: Final = 512


def check_latch(patient: Patient) -> Iterator[CheckResult]:
    """The latch can be read, does not seal everything, and control's heart beats."""
    directory = patient.layout.latch
    if not os.path.lexists(directory):
        yield failed("latch", f"there is none in {directory}", "start control; it makes the latch")
        return
    try:
        reader = LatchReader(directory, owners=(directory.stat().st_uid,))
    except EnvironmentFailure as exc:
        yield from_error("latch", exc, "start control; it makes the latch")
        return
    except OSError as exc:
        yield warned("latch", f"this user cannot read it: {exc.strerror}", "run doctor as root")
        return
    try:
        state = reader.read()
        age_ns = reader.heartbeat_age_ns(patient.clock.boot_ns())
        if state.is_sealed:
            yield failed(
                "latch",
                f"sealed, every call is denied: {state.seal_reason}",
                "see control's log; repair the storage and start control again",
            )
        else:
            yield fine("latch", f"readable, epoch {state.epoch}")
        yield from _heartbeat(patient, age_ns)
        yield from _mode_of_control(patient, reader.control_pid, is_alive=age_ns != NEVER_NS)
    finally:
        reader.close()


def _heartbeat(patient: Patient, age_ns: int) -> Iterator[CheckResult]:
    limit = patient.settings.max_staleness_s
    age_s = age_ns / NS_PER_SECOND
    if age_ns == NEVER_NS:
        yield failed("heartbeat", "control has not been alive since this host booted",
                     "start control: until then every gate denies")  # fmt: skip
    elif age_s > limit:
        yield failed("heartbeat", f"control was last alive {age_s:.0f} s ago, more than {limit:g}",
                     "start control, or see in its log why it hangs")  # fmt: skip
    else:
        yield fine("heartbeat", f"control was alive {age_s:.1f} s ago")


def _mode_of_control(patient: Patient, pid: int, *, is_alive: bool) -> Iterator[CheckResult]:
    """Development mode is a decision, not something that was left on."""
    if patient.is_dev or not is_alive:
        return
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return
    if b"--dev" in words and b"control" in words:
        yield failed(
            "development mode",
            f"control (pid {pid}) runs with --dev",
            "start it without; or say `holdfast doctor --dev` if that is meant",
        )


def check_clock(patient: Patient) -> Iterator[CheckResult]:
    """The wall clock is sane, runs with others, and is not behind what was already recorded."""
    wall_ns = patient.clock.wall_ns()
    now = datetime_of(wall_ns)
    if now < _SANE_SINCE:
        yield failed("clock", f"the wall clock says {now:%Y-%m-%d}", "set it, and run NTP")
        return
    newest = _newest_entry(patient)
    if newest is not None and newest - wall_ns > _BACKWARDS_NS:
        behind = (newest - wall_ns) / NS_PER_SECOND
        yield failed(
            "clock",
            f"the wall clock is {behind:.0f} s behind the newest log entry",
            "set it, and run NTP: certificates and tokens are judged by it",
        )
        return
    if not patient.is_dev and _is_unsynchronised():
        yield warned("clock", "the kernel says it is not synchronised", "run NTP")
        return
    yield fine("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC")


def _newest_entry(patient: Patient) -> int | None:
    directory = patient.layout.control_audit
    try:
        size = signed_size(directory)
        entries = read_entries(directory, max(0, size - 1), 1)
        text = str(entries[-1].fields()["time"])
        return round(datetime.fromisoformat(text).timestamp() * NS_PER_SECOND)
    except (HoldfastError, OSError, IndexError, KeyError, ValueError):
        return None


def _is_unsynchronised() -> bool:
    try:
        adjtimex = ctypes.CDLL(None).adjtimex
    except (AttributeError, OSError):
        return False
    # All zeros asks and changes nothing.
    return int(adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))) == _TIME_ERROR


def check_audit(patient: Patient) -> Iterator[CheckResult]:
    """The end of each log of this host verifies: signature, right edge, and what follows it."""
    layout = patient.layout
    logs = [("control", layout.control)]
    with suppress(OSError):
        logs += [(f"gate {path.name}", path) for path in sorted((layout.root / "gates").iterdir())]
    for name, home in logs:
        if os.path.lexists(home / "audit"):
            yield _tail(f"log of {name}", home)


def _tail(name: str, home: Path) -> CheckResult:
    fix = f"holdfast audit verify {home / 'audit'} --key {home / 'audit.vkey'}"
    problem: HoldfastError | None = None
    for _ in range(_ATTEMPTS):  # a log that is written while it is read can look torn
        try:
            key = parse_vkey((home / "audit.vkey").read_text(encoding="ascii"))
            found = recover(home / "audit", origin=key.name, keys=[key])
        except PermissionError:
            return warned(name, "this user cannot read it", "run doctor as root")
        except FileNotFoundError as exc:
            problem = IntegrityError(f"{exc.filename} is missing")
        except (OSError, UnicodeDecodeError) as exc:
            return failed(name, f"cannot be read: {exc}", fix)
        except HoldfastError as exc:
            problem = exc
        else:
            size = found.head.size if found.head is not None else 0
            return fine(name, f"its end verifies, {size + len(found.unsigned)} entries")
    assert problem is not None  # noqa: S101 - the loop ended without a return
    return failed(name, problem.message, fix)


def check_bundle_in_use(patient: Patient) -> Iterator[CheckResult]:
    """The bundle loads, agrees with its own tests, and has nothing doubtful in it."""
    path = patient.settings.bundle
    if path is None:
        yield warned("bundle", "none is configured here", "set bundle, where control runs")
        return
    report = check_bundle(path)
    if report.bundle is None:
        first = str(report.errors[0])
        more = len(report.errors) - 1
        found = first + (f" and {more} more" if more else "")
        yield failed("bundle", found, f"holdfast policy check {path}")
        return
    tests = run_tests(report.bundle)
    in_force = _digest_in_force(patient)
    if in_force not in ("", report.bundle.digest):
        yield warned(
            "bundle in force",
            f"{in_force[:16]} decides; {path} holds {report.bundle.digest[:16]}",
            "holdfast policy reload; a second human grants what may permit more",
        )
    if not tests.ok:
        found = f"{tests.failed} of {len(tests.results)} of its own tests disagree"
        yield failed("bundle", found, f"holdfast policy test {path}")
    elif report.warnings:
        yield warned("bundle", f"{len(report.warnings)} warnings", f"holdfast policy check {path}")
    else:
        found = f"{len(report.bundle.policies)} policies, {len(tests.results)} tests agree"
        yield fine("bundle", found)


def _digest_in_force(patient: Patient) -> str:
    """Return the digest that the latch names; empty if it names none, or cannot be read here."""
    directory = patient.layout.latch
    try:
        reader = LatchReader(directory, owners=(directory.stat().st_uid,))
        try:
            events = [decode_event(record) for record in reader.read().records]
        finally:
            reader.close()
        return ContainmentState.empty().apply_all(events).policy_digest
    except (OSError, HoldfastError):
        return ""
