# SPDX-License-Identifier: Apache-2.0
"""The systemd units: hardened, least privilege, and consistent with the files beside them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.settings import Settings

SYSTEMD = Path(__file__).resolve().parents[3] / "deploy" / "systemd"
CONTROL = "holdfast-control.service"
GATE = "holdfast-gate@.service"
UNITS = (CONTROL, GATE)
BINARY = "/opt/holdfast/bin/holdfast"

MAX_EXPOSURE = 20
"""Ten times the highest exposure level that ``systemd-analyze security`` may find (2.0)."""

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not on this machine (Debian: package systemd)",
)

Unit = dict[str, list[str]]


def _read(name: str) -> str:
    return (SYSTEMD / name).read_text(encoding="utf-8")


def _settings(text: str) -> Unit:
    """Return every ``Key=value`` of a unit, in order."""
    found: Unit = defaultdict(list)
    for line in text.splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            found[key].append(value)
    return found


HARDENING = {
    "AmbientCapabilities": "",
    "CapabilityBoundingSet": "",
    "DevicePolicy": "closed",
    "KeyringMode": "private",
    "LimitCORE": "0",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "NoNewPrivileges": "yes",
    "PrivateDevices": "yes",
    "PrivateIPC": "yes",
    "PrivateMounts": "yes",
    "PrivateTmp": "yes",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHome": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectProc": "invisible",
    "ProtectSystem": "strict",
    "RemoveIPC": "yes",
    "Restart": "always",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "SecureBits": "noroot-locked",
    "StartLimitIntervalSec": "0",
    "SystemCallArchitectures": "native",
    "SystemCallErrorNumber": "EPERM",
    "UMask": "0077",
}


def _faults(text: str) -> list[str]:
    """Return the names of the hardening rules that the unit breaks."""
    settings = _settings(text)
    faults = [key for key, wanted in HARDENING.items() if settings.get(key) != [wanted]]
    if settings.get("SystemCallFilter") != ["@system-service", "~@privileged @resources"]:
        faults.append("SystemCallFilter")
    if not settings.get("User", [""])[0].startswith("holdfast-"):
        faults.append("User")
    if {"ProcSubset", "PrivateUsers"} & settings.keys():
        faults.append("ProtectProc")  # they hide the boot id, and who owns a file
    if "WatchdogSec" in settings or settings.get("Type") != ["exec"]:
        faults.append("Type")  # a promise to systemd that the processes do not keep
    return faults


@pytest.mark.parametrize("unit", UNITS)
def test_every_hardening_is_in_force(unit: str) -> None:
    """Each unit carries the whole list, each entry once."""
    assert _faults(_read(unit)) == []


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("key", [*HARDENING, "SystemCallFilter", "User", "Type"])
def test_every_hardening_negative_control(unit: str, key: str) -> None:
    """Without its line, or with a weaker one, a rule is reported."""
    without = re.sub(rf"(?m)^{key}=.*\n", "", _read(unit))
    weaker = re.sub(rf"(?m)^{key}=.*$", f"{key}=no", _read(unit))

    assert key in _faults(without)
    assert key in _faults(weaker)


def test_the_gate_has_of_holdfasts_directories_only_what_it_needs() -> None:
    """What an agent talks to cannot command: latch read-only, control and other gates not there."""
    settings = _settings(_read(GATE))

    (empty,) = settings["TemporaryFileSystem"]
    writable = " ".join(settings["BindPaths"] + settings["ReadWritePaths"]).split()
    readable = " ".join(settings["BindReadOnlyPaths"]).split()

    assert empty.split() == ["/var/lib/holdfast:ro", "/run/holdfast:ro"]
    assert writable == ["/var/lib/holdfast/gates/%i", "/run/holdfast/agents/%i"]
    assert readable == ["/var/lib/holdfast/latch", "/run/holdfast/internal"]
    assert settings["SocketBindDeny"] == ["any"]


def test_only_an_agents_group_opens_its_socket() -> None:
    """The kernel's permissions are the agent's identity."""
    settings = _settings(_read(GATE))

    assert settings["Group"] == ["holdfast-agent-%i"]
    assert settings["RuntimeDirectory"] == ["holdfast/agents/%i"]
    assert settings["RuntimeDirectoryMode"] == ["0750"]
    assert settings["StateDirectory"] == ["holdfast/gates/%i"]
    assert settings["StateDirectoryMode"] == ["0700"]


def test_control_and_gate_are_different_users() -> None:
    """A gate that was taken over is not control."""
    control, gate = _settings(_read(CONTROL)), _settings(_read(GATE))

    assert control["User"] == ["holdfast-control"]
    assert gate["User"] == ["holdfast-gate"]
    assert control["Group"] == gate["SupplementaryGroups"] == ["holdfast"]


def test_a_gate_outlives_control() -> None:
    """A gate serves while control restarts, so nothing may stop it with control."""
    settings = _settings(_read(GATE))

    assert settings["Wants"] == [CONTROL]
    assert not {"Requires", "BindsTo", "PartOf"} & settings.keys()


@pytest.mark.parametrize("unit", UNITS)
def test_units_name_only_users_that_the_sysusers_file_makes(unit: str) -> None:
    """A unit whose user is missing would not start; a group per agent is the operator's to make."""
    made = set(re.findall(r"(?m)^[ug] ([a-z-]+) ", _read("holdfast.sysusers")))
    settings = _settings(_read(unit))

    named = {
        *settings["User"],
        *settings["Group"],
        *" ".join(settings.get("SupplementaryGroups", [])).split(),
    }

    assert named - {"holdfast-agent-%i"} <= made


def test_the_tmpfiles_make_every_directory_narrow_enough() -> None:
    """Each has the owner and mode that Holdfast insists on, and nothing ages away."""
    lines = [line.split() for line in _read("holdfast.tmpfiles").splitlines() if line[:1] == "d"]
    made = {path: (mode, user, group) for _, path, mode, user, group, _ in lines}

    needed = " ".join(_settings(_read(CONTROL))["ReadWritePaths"]).split()

    assert set(needed) <= made.keys()
    assert all(age == "-" for *_, age in lines)
    assert not [path for path, (mode, *_) in made.items() if int(mode, 8) & 0o022]
    assert {path for path, (_, user, _) in made.items() if user == "root"} == {"/etc/holdfast"}
    assert made["/var/lib/holdfast"][0] == made["/run/holdfast"][0] == "0711"
    assert made["/var/lib/holdfast/latch"] == ("0750", "holdfast-control", "holdfast")
    assert made["/run/holdfast/internal"] == ("0750", "holdfast-control", "holdfast")
    assert made["/var/lib/holdfast/control"][0] == "0700"
    assert made["/run/holdfast/control"][0] == "0700"


def test_the_example_settings_are_accepted() -> None:
    """The file that ships is one that control starts with, and it agrees with the units."""
    settings = Settings.load(environ={}, config=SYSTEMD / "holdfast.yaml")

    settings.check_for_control(is_dev=False)

    for unit in UNITS:
        environment = _settings(_read(unit))["Environment"]
        assert f"HOLDFAST_STATE_DIR={settings.state_dir}" in environment
        assert f"HOLDFAST_RUNTIME_DIR={settings.runtime_dir}" in environment


def test_the_isolation_drop_in_gives_one_capability_and_no_more() -> None:
    """Ending other users' processes needs CAP_KILL; nothing else is loosened for it but /proc."""
    settings = _settings(_read("isolate-processes.conf"))

    assert settings == {
        "CapabilityBoundingSet": ["CAP_KILL"],
        "AmbientCapabilities": ["CAP_KILL"],
        "ProtectProc": ["default"],
    }


# --- systemd's own opinion -----------------------------------------------------------------------


def _install(directory: Path, change: Callable[[str], str] = str) -> list[str]:
    """Put the units where systemd-analyze finds them, the gate as the instance ``banking``."""
    names = {CONTROL: CONTROL, GATE: "holdfast-gate@banking.service"}
    for source, target in names.items():
        text = change(_read(source)).replace(BINARY, sys.executable)
        (directory / target).write_text(text, encoding="utf-8")
        (directory / source).write_text(text, encoding="utf-8")
    return [f"./{name}" for name in names.values()]


def _analyze(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
    )


@needs_analyze
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    """No unknown key, no value that is silently ignored."""
    units = _install(tmp_path)

    result = _analyze(tmp_path, "verify", "--man=no", *units)

    assert [line for line in result.stderr.splitlines() if "holdfast" in line] == []
    assert result.returncode == 0


@needs_analyze
def test_systemd_understands_every_line_negative_control(tmp_path: Path) -> None:
    """A value that systemd would ignore is reported."""
    units = _install(
        tmp_path, lambda text: text.replace("ProtectSystem=strict", "ProtectSystem=hm")
    )

    result = _analyze(tmp_path, "verify", "--man=no", *units)

    assert "holdfast-control.service" in result.stderr
    assert "holdfast-gate@banking.service" in result.stderr


def _is_exposed(directory: Path, unit: str) -> bool:
    arguments = ("security", "--offline=true", f"--threshold={MAX_EXPOSURE}", unit)
    result = _analyze(directory, *arguments)
    if "Overall exposure level" not in result.stdout:
        pytest.skip("this systemd-analyze cannot judge a unit offline (needs systemd 250)")
    return result.returncode != 0


@needs_analyze
def test_systemd_finds_the_units_hardly_exposed(tmp_path: Path) -> None:
    """systemd's own exposure level is at most 2.0 of 10 for both units."""
    units = _install(tmp_path)

    exposed = [unit for unit in units if _is_exposed(tmp_path, unit)]

    assert exposed == []


@needs_analyze
def test_systemd_finds_the_units_hardly_exposed_negative_control(tmp_path: Path) -> None:
    """Without its file-system, privilege and system-call walls, each unit is over the limit."""
    walls = r"(?m)^(?:ProtectSystem|NoNewPrivileges|SystemCallFilter|CapabilityBoundingSet)=.*\n"
    units = _install(tmp_path, lambda text: re.sub(walls, "", text))

    exposed = [unit for unit in units if _is_exposed(tmp_path, unit)]

    assert exposed == units
