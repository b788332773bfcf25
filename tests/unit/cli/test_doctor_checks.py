# SPDX-License-Identifier: Apache-2.0
"""Each check against the thing itself, whole and broken; and that doctor never crashes."""

from __future__ import annotations

import json
import shutil
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sidecar.cli.exits import Exit
from sidecar.clock import NS_PER_SECOND, ManualClock, SystemClock
from sidecar.containment.events import PolicyActivated
from sidecar.containment.journal import ContainmentJournal
from sidecar.control.pki import InsecureDevelopmentPki
from sidecar.doctor import run as run_module
from sidecar.doctor.certificates import check_certificates
from sidecar.doctor.paths import (
    check_anchor,
    check_config_file,
    check_directories,
    check_sockets,
    check_storage,
)
from sidecar.doctor.result import CheckResult, Patient, Status
from sidecar.doctor.run import CHECKS, examine, is_healthy
from sidecar.doctor.serving import check_insecure, check_serving
from sidecar.doctor.state import check_audit, check_bundle_in_use, check_clock, check_latch
from sidecar.latch.files import read_boot_id
from sidecar.latch.writer import LatchWriter
from sidecar.policy.bundle import load_bundle
from sidecar.settings import Settings, default_bundle


@pytest.fixture
def patient(short_dir):
    """Return a maker of patients over one state directory."""

    def make(
        *, is_dev: bool = True, clock=None, environ: dict[str, str] | None = None, **values: object
    ) -> Patient:
        flags = {"state_dir": str(short_dir / "s"), "runtime_dir": str(short_dir / "r"), **values}
        settings = Settings.load(flags=flags, environ={}, is_dev=is_dev)
        return Patient(
            settings=settings, is_dev=is_dev, environ=environ or {}, clock=clock or SystemClock()
        )

    (short_dir / "s").mkdir(mode=0o711)
    return make


def statuses(results) -> list[Status]:
    return [result.status for result in results]


def only(results) -> CheckResult:
    (result,) = results
    return result


# -- paths ----------------------------------------------------------------------------------------


def test_directories_that_others_can_write_fail_with_the_command_that_repairs(patient):
    """K01: who can rename a directory can put another in its place."""
    one = patient()
    one.layout.control.mkdir(mode=0o700)
    good = only(check_directories(one))
    one.layout.control.chmod(0o777)
    bad = only(check_directories(one))
    one.layout.control.chmod(0o750)
    wide = only(check_directories(one))

    assert good.status is Status.OK
    assert bad.status is Status.FAIL
    assert bad.fix.startswith("chmod")
    assert wide.status is Status.FAIL
    assert "0700" in wide.fix


def test_nothing_there_yet_is_a_warning(patient):
    """A host before its first start is not broken."""
    assert only(check_directories(patient())).status is Status.WARN
    assert list(check_sockets(patient())) == []


def test_sockets(patient, short_dir):
    """Too long, no socket, open to all: each is told with its remedy."""
    one = patient()
    one.layout.local_socket.parent.mkdir(parents=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(one.layout.local_socket))
    one.layout.local_socket.chmod(0o600)
    good = only(check_sockets(one))
    one.layout.local_socket.chmod(0o666)
    wide = only(check_sockets(one))
    listener.close()
    one.layout.local_socket.unlink()
    one.layout.local_socket.touch()
    false = only(check_sockets(one))
    long = only(check_sockets(patient(runtime_dir="/" + "x" * 120)))

    assert good.status is Status.OK
    assert (wide.status, wide.fix) == (Status.FAIL, f"chmod 0600 {one.layout.local_socket}")
    assert false.status is Status.FAIL
    assert "shorten" in long.fix


def test_storage(patient, monkeypatch, short_dir):
    """Room is measured where the state lies."""
    one = patient()
    good = only(check_storage(one))
    missing = only(check_storage(patient(state_dir=str(short_dir / "no"))))
    real = __import__("os").statvfs

    def with_free(megabytes: int):
        found = real("/")
        values = list(found)
        values[0] = values[1] = 1024 * 1024
        values[4] = megabytes
        return lambda _: type(found)(values)

    monkeypatch.setattr("sidecar.doctor.paths.os.statvfs", with_free(10))
    full = only(check_storage(one))
    monkeypatch.setattr("sidecar.doctor.paths.os.statvfs", with_free(500))
    scarce = only(check_storage(one))

    assert good.status in {Status.OK, Status.WARN}
    assert missing.status is Status.WARN
    assert (full.status, scarce.status) == (Status.FAIL, Status.WARN)


def test_the_settings_file_and_the_anchor(patient, tmp_path):
    """A file that others write says where everything is; an anchor on the same disk shows little."""
    one = patient()
    config = tmp_path / "h.yaml"
    config.write_text("version: 1\n")
    config.chmod(0o644)
    good = only(check_config_file(one, config))
    config.chmod(0o666)
    bad = only(check_config_file(one, config))

    assert (good.status, bad.status) == (Status.OK, Status.FAIL)
    assert list(check_config_file(one, None)) == []
    assert list(check_config_file(one, tmp_path / "no")) == []
    assert list(check_anchor(one)) == []
    assert only(check_anchor(patient_of(one, is_dev=False))).status is Status.WARN


def patient_of(one: Patient, *, is_dev: bool) -> Patient:
    return Patient(settings=one.settings, is_dev=is_dev, environ={}, clock=one.clock)


def test_an_anchor_is_on_another_disk(patient, tmp_path):
    """The hand that cuts the log must not reach it."""
    same = only(check_anchor(patient(anchor_file=str(tmp_path / "a.jsonl"))))
    gone = only(check_anchor(patient(anchor_file="/no/such/place/a.jsonl")))
    other = only(check_anchor(patient(anchor_file="/dev/shm/a.jsonl")))

    assert (same.status, gone.status, other.status) == (Status.WARN, Status.FAIL, Status.OK)


# -- certificates ---------------------------------------------------------------------------------


def test_development_certificates_fail_outside_development(patient):
    """They are a decision, never something that was left on."""
    one = patient()
    InsecureDevelopmentPki.ensure(one.layout.pki, [])

    meant = list(check_certificates(one))
    left_on = list(check_certificates(patient_of(one, is_dev=False)))
    pki = one.layout.pki
    configured = list(
        check_certificates(
            patient(
                is_dev=False,
                tls_certificate=str(pki / "server.pem"),
                tls_key=str(pki / "server.key"),
                client_ca=str(pki / "ca.pem"),
            )
        )
    )

    assert statuses(meant) == [Status.OK] * 3
    assert statuses(left_on) == [Status.FAIL]
    assert "--dev" in left_on[0].fix
    assert [result.status for result in configured[:2]] == [Status.FAIL, Status.FAIL]


def test_no_certificates_at_all_fail_outside_development(patient):
    """Production has its own."""
    assert only(check_certificates(patient(is_dev=False))).status is Status.FAIL
    assert list(check_certificates(patient())) == []


def test_certificates_that_ended_begin_later_or_are_none(patient):
    """Validity is judged by the clock; a key by its certificate and its mode."""
    one = patient()
    pki = InsecureDevelopmentPki.ensure(one.layout.pki, [("alice", "spiffe://h.dev/a")])
    now = datetime.now(UTC)

    def at(moment: datetime) -> list[CheckResult]:
        clock = ManualClock(wall_ns=round(moment.timestamp()) * NS_PER_SECOND)
        changed = Patient(settings=one.settings, is_dev=True, environ={}, clock=clock)
        return list(check_certificates(changed))

    assert "expired" in at(now + timedelta(days=400))[0].found
    assert "not valid yet" in at(now - timedelta(days=400))[0].found
    pki.key("server").chmod(0o644)
    assert "chmod 0600" in list(check_certificates(one))[2].fix
    shutil.copy(pki.key("alice"), pki.key("server"))
    pki.key("server").chmod(0o600)
    assert "is not the key" in list(check_certificates(one))[2].found
    pki.key("server").write_text("nonsense")
    assert list(check_certificates(one))[2].status is Status.FAIL
    pki.certificate("server").write_text("nonsense")
    assert next(iter(check_certificates(one))).status is Status.FAIL


def test_exposure(patient):
    """Development certificates belong on loopback; gRPC's tracing belongs off."""
    good = only(check_insecure(patient()))
    open_ = only(check_insecure(patient(listen="0.0.0.0:7443")))
    chatty = only(check_insecure(patient(environ={"GRPC_TRACE": "all"})))

    assert (good.status, open_.status, chatty.status) == (Status.OK, Status.FAIL, Status.WARN)


# -- state ----------------------------------------------------------------------------------------


def test_the_latch_and_the_heart(patient):
    """Missing, silent, alive, old: each is told."""
    one = patient()
    missing = only(check_latch(one))
    writer = LatchWriter.initialise(one.layout.latch)
    try:
        silent = list(check_latch(one))
        writer.heartbeat(one.clock.boot_ns())
        alive = list(check_latch(one))
        late = ManualClock(wall_ns=one.clock.wall_ns(), boot_ns=one.clock.boot_ns())
        late.advance(seconds=60)
        old = list(check_latch(Patient(settings=one.settings, is_dev=True, environ={}, clock=late)))
    finally:
        writer.close()

    assert missing.status is Status.FAIL
    assert statuses(silent) == [Status.OK, Status.FAIL]
    assert statuses(alive) == [Status.OK, Status.OK]
    assert statuses(old) == [Status.OK, Status.FAIL]
    assert "60 s ago" in old[1].found


def test_a_latch_that_was_damaged_or_is_not_ours(patient):
    """Both slots torn: everything is denied, and doctor says so."""
    one = patient()
    LatchWriter.initialise(one.layout.latch).close()
    slots = one.layout.latch / "slots"
    with slots.open("r+b") as file:
        file.write(b"\xff" * 8192)
    torn = list(check_latch(one))
    slots.unlink()
    gone = only(check_latch(one))

    assert torn[0].status is Status.FAIL
    assert "every call is denied" in torn[0].found
    assert gone.status is Status.FAIL


def test_a_control_that_runs_with_dev_is_noticed(patient, monkeypatch):
    """K09 in the running process: --dev outside development fails."""
    one = patient()
    writer = LatchWriter.initialise(one.layout.latch)
    writer.heartbeat(one.clock.boot_ns())
    real = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if str(path).endswith("/cmdline"):
            return b"python\0-m\0sidecar.cli.main\0control\0--dev\0"
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    try:
        meant = list(check_latch(one))
        left_on = list(check_latch(patient_of(one, is_dev=False)))
    finally:
        writer.close()

    assert len(meant) == 2
    assert left_on[-1].name == "development mode"
    assert left_on[-1].status is Status.FAIL


def test_clock(patient, small_log):
    """Before the year 2025, or before what was already recorded: the clock is wrong."""
    one = patient()
    insane = Patient(
        settings=one.settings, is_dev=True, environ={}, clock=ManualClock(wall_ns=NS_PER_SECOND)
    )
    one.layout.control.mkdir(mode=0o700)
    shutil.copytree(small_log.directory, one.layout.control_audit)
    behind = Patient(
        settings=one.settings,
        is_dev=True,
        environ={},
        clock=ManualClock(wall_ns=one.clock.wall_ns() - 3600 * NS_PER_SECOND),
    )

    assert only(check_clock(one)).status is Status.OK
    assert only(check_clock(insane)).status is Status.FAIL
    assert "behind the newest log entry" in only(check_clock(behind)).found


def test_logs(patient, small_log):
    """Each log's end is verified with its own key; a touched one fails with the command to run."""
    one = patient()
    for home in (one.layout.control, one.layout.gate("banking")):
        home.parent.mkdir(exist_ok=True)
        shutil.copytree(small_log.directory.parent, home)
    good = list(check_audit(one))
    (one.layout.control / "audit" / "checkpoint").write_bytes(b"")
    touched = list(check_audit(one))
    (one.layout.control / "audit.vkey").unlink()
    keyless = list(check_audit(one))

    assert [result.name for result in good] == ["log of control", "log of gate banking"]
    assert statuses(good) == [Status.OK, Status.OK]
    assert "5 entries" in good[0].found
    assert statuses(touched) == statuses(keyless) == [Status.FAIL, Status.OK]
    assert touched[0].fix.startswith("holdfast audit verify")


def test_bundle(patient, tmp_path):
    """It loads, agrees with itself, and is configured where it is needed."""
    bundle = Path(shutil.copytree(default_bundle(), tmp_path / "bundle"))
    good = only(check_bundle_in_use(patient(bundle=str(bundle))))
    cases = bundle / "tests" / "demo.yaml"
    cases.write_text(cases.read_text().replace("expect: DENY", "expect: ALLOW", 1))
    disagrees = only(check_bundle_in_use(patient(bundle=str(bundle))))
    (bundle / "tools.yaml").write_text("version: 1\ntools: {}\nx: 1\n")
    broken = only(check_bundle_in_use(patient(bundle=str(bundle))))
    none = only(check_bundle_in_use(patient(is_dev=False)))

    assert good.status in {Status.OK, Status.WARN}
    assert disagrees.fix == f"holdfast policy test {bundle}"
    assert broken.fix == f"holdfast policy check {bundle}"
    assert ".yaml:" in broken.found
    assert none.status is Status.WARN


def test_another_bundle_in_force_than_the_one_that_lies_there(patient):
    """The latch names the one that decides; the way to the other is told."""
    bundle = str(default_bundle())
    digest = load_bundle(default_bundle()).digest
    one = patient(bundle=bundle)
    writer = LatchWriter.initialise(one.layout.latch)
    journal = ContainmentJournal(writer=writer, clock=one.clock, boot_id=read_boot_id())
    found = []
    for named in ("ab" * 32, digest):
        journal.publish(
            PolicyActivated(
                epoch=journal.next_epoch, digest=named, author="carol", create_time_ns=1
            )
        )
        found.append([result for result in check_bundle_in_use(one) if "force" in result.name])
    writer.close()

    (other,), same = found
    assert other.status is Status.WARN
    assert other.found == f"{'ab' * 8} decides; {bundle} holds {digest[:16]}"
    assert "holdfast policy reload" in other.fix
    assert same == []


# -- serving --------------------------------------------------------------------------------------


async def test_serving(patient):
    """Nobody there, a dead socket, no socket."""
    one = patient()
    missing = await check_serving(one)
    one.layout.local_socket.parent.mkdir(parents=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(one.layout.local_socket))
    listener.close()
    home = one.layout.agent_socket("banking").parent
    home.mkdir(parents=True)
    (home / "guard.sock").touch()
    dead = await check_serving(one)

    assert statuses(missing) == [Status.FAIL]
    assert statuses(dead) == [Status.FAIL, Status.FAIL]
    assert "nobody answers" in dead[0].found
    assert "no socket" in dead[1].found


def test_a_serving_control_is_seen(host, holdfast):
    """Through the command, against a real server."""
    checks = {item["name"]: item for item in holdfast("doctor", "--dev", "--json").json()["checks"]}

    assert checks["control"]["status"] == "ok"
    assert checks["latch"]["status"] == "fail"


# -- all of it ------------------------------------------------------------------------------------


def test_a_check_that_breaks_is_a_finding(patient, monkeypatch):
    """A doctor that crashes helps nobody, and hides nothing."""

    def broken(_: Patient) -> list[CheckResult]:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(run_module, "CHECKS", (("broken", broken), *CHECKS[:1]))

    results = examine(patient(), config=None)

    assert (results[0].name, results[0].status) == ("broken", Status.FAIL)
    assert len(results) > 2
    assert not is_healthy(results)


def test_doctor_exits_1_and_names_a_fix_for_everything_that_failed(holdfast, tmp_path):
    """One line for the finding, one for the fix."""
    text = holdfast("doctor", "--dev", "--state-dir", str(tmp_path))
    document = holdfast("doctor", "--dev", "--state-dir", str(tmp_path), "--json")

    assert text.code == document.code == Exit.FAILURE
    failures = [item for item in document.json()["checks"] if item["status"] == "fail"]
    assert failures
    assert all(item["fix"] for item in failures)
    assert text.out.count("    → ") >= len(failures)


def test_doctor_tells_what_is_wrong_with_the_settings(holdfast, monkeypatch):
    """The first thing that is wrong is often this."""
    monkeypatch.setenv("HOLDFAST_FAIL_OPEN", "1")
    monkeypatch.setenv("HOLDFAST_MAX_IN_FLIGHT", "\x1b[2J")

    result = holdfast("doctor")

    assert result.code == Exit.FAILURE
    assert "HOLDFAST_FAIL_OPEN" in result.out
    assert "\x1b" not in json.dumps(result.out, ensure_ascii=False)
