# SPDX-License-Identifier: Apache-2.0
"""The example pod: restricted, and an agent that can reach its own socket and nothing else."""

from __future__ import annotations

import copy
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.settings import Settings

POD = Path(__file__).resolve().parents[3] / "deploy" / "kubernetes" / "pod.yaml"

Document = dict[str, Any]
SIDECARS = ("control", "gate")
INIT = ("prepare-control", "prepare-gate", *SIDECARS)


def _documents() -> dict[str, Document]:
    return {
        document["kind"]: document
        for document in yaml.safe_load_all(POD.read_text(encoding="utf-8"))
        if document
    }


def _pod() -> Document:
    return copy.deepcopy(_documents()["Pod"])


def _init(pod: Document, name: str) -> Document:
    return next(c for c in pod["spec"]["initContainers"] if c["name"] == name)


def _agent(pod: Document) -> Document:
    (agent,) = pod["spec"]["containers"]
    return dict(agent)


def _containers(pod: Document) -> list[Document]:
    return [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]


def _mounts(container: Document) -> dict[str, Document]:
    return {mount["mountPath"]: mount for mount in container["volumeMounts"]}


def _restricted(pod: Document) -> bool:
    """The "restricted" profile of the Pod Security Standards, spelled out in every container."""
    spec = pod["spec"]
    return (
        spec["securityContext"]["runAsNonRoot"] is True
        and spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        and not {"hostPID", "hostIPC", "hostNetwork"} & spec.keys()
        and not any("hostPath" in volume for volume in spec["volumes"])
        and all(
            context["runAsNonRoot"] is True
            and context["runAsUser"] > 0
            and context["allowPrivilegeEscalation"] is False
            and context["readOnlyRootFilesystem"] is True
            and context["capabilities"] == {"drop": ["ALL"]}
            and context["seccompProfile"] == {"type": "RuntimeDefault"}
            and not context.get("privileged", False)
            for context in (container["securityContext"] for container in _containers(pod))
        )
    )


def _native_sidecars_in_order(pod: Document) -> bool:
    """Control, then gate, both up before the agent starts and stopped after it."""
    names = [container["name"] for container in pod["spec"]["initContainers"]]
    policies = {c["name"]: c.get("restartPolicy") for c in pod["spec"]["initContainers"]}
    return names == list(INIT) and policies == {
        "prepare-control": None,
        "prepare-gate": None,
        "control": "Always",
        "gate": "Always",
    }


def _agent_reaches_its_socket_alone(pod: Document) -> bool:
    """Of Holdfast, the agent's container has its socket's directory, and that read-only."""
    mounts = _mounts(_agent(pod))
    sockets = mounts.pop("/run/holdfast/agents", {})
    return (
        sockets.get("name") == "agent-socket"
        and sockets.get("readOnly") is True
        and set(mounts) == {"/tmp"}
        and mounts["/tmp"]["name"] == "agent-tmp"
    )


def _socket_volume_holds_sockets_alone(pod: Document) -> bool:
    """The volume that the agent sees is used for nothing else and lives in memory."""
    users = {
        (container["name"], mount["mountPath"])
        for container in _containers(pod)
        for mount in container["volumeMounts"]
        if mount["name"] == "agent-socket"
    }
    (volume,) = [v for v in pod["spec"]["volumes"] if v["name"] == "agent-socket"]
    return volume["emptyDir"]["medium"] == "Memory" and users == {
        ("prepare-gate", "/agent"),
        ("gate", "/run/holdfast/agents"),
        ("agent", "/run/holdfast/agents"),
    }


def _gate_cannot_command(pod: Document) -> bool:
    """The gate maps the latch read-only and has neither control's store nor its local socket."""
    mounts = _mounts(_init(pod, "gate"))
    shared = {
        path: (mount.get("subPath"), mount.get("readOnly", False))
        for path, mount in mounts.items()
        if mount["name"] not in {"settings", "gate-tmp"}
    }
    return shared == {
        "/var/lib/holdfast/latch": ("holdfast/latch", True),
        "/var/lib/holdfast/gates": ("gates", False),
        "/run/holdfast/internal": ("internal", True),
        "/run/holdfast/agents": ("agents", False),
    }


def _users_are_distinct(pod: Document) -> bool:
    users = [
        container["securityContext"]["runAsUser"]
        for container in (_init(pod, "control"), _init(pod, "gate"), _agent(pod))
    ]
    return len(set(users)) == 3


def _state_outlives_the_pod(pod: Document) -> bool:
    """The latch and the logs are on a persistent volume: a kill outlives its pod."""
    (volume,) = [v for v in pod["spec"]["volumes"] if v["name"] == "state"]
    policy = pod["spec"]["securityContext"]["fsGroupChangePolicy"]
    durable = [
        _mounts(_init(pod, "control"))["/var/lib/holdfast"]["name"],
        _mounts(_init(pod, "gate"))["/var/lib/holdfast/gates"]["name"],
    ]
    return (
        "persistentVolumeClaim" in volume
        and set(durable) == {"state"}
        and (policy == "OnRootMismatch")
    )


def _probes_ask_the_process(pod: Document) -> bool:
    sockets = {
        "control": "/run/holdfast/control/local.sock",
        "gate": "/run/holdfast/agents/banking/guard.sock",
    }
    return all(
        _init(pod, name).get(probe, {}).get("exec", {}).get("command")
        == ["holdfast", "health", "--socket", sockets[name]]
        and _init(pod, name)[probe]["timeoutSeconds"] >= 2
        for name, probe in (
            ("control", "startupProbe"),
            ("control", "readinessProbe"),
            ("control", "livenessProbe"),
            ("gate", "startupProbe"),
            ("gate", "readinessProbe"),
        )
    ) and "livenessProbe" not in _init(pod, "gate")


def _resources_are_bounded(pod: Document) -> bool:
    """Memory is bounded everywhere; what decides is never throttled."""
    return all(
        "memory" in container["resources"]["limits"]
        and {"cpu", "memory"} <= container["resources"]["requests"].keys()
        for container in _containers(pod)
    ) and not any("cpu" in _init(pod, name)["resources"]["limits"] for name in SIDECARS)


def _no_credentials_lie_around(pod: Document) -> bool:
    spec = pod["spec"]
    secrets = {
        container["name"]
        for container in _containers(pod)
        for mount in container["volumeMounts"]
        if mount["name"] == "tls"
    }
    return (
        spec["automountServiceAccountToken"] is False
        and spec["enableServiceLinks"] is False
        and spec["shareProcessNamespace"] is False
        and secrets == {"prepare-control"}
        and not any("valueFrom" in env for c in _containers(pod) for env in c.get("env", []))
    )


def _every_mount_has_its_volume(pod: Document) -> bool:
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
    mounted = {m["name"] for c in _containers(pod) for m in c["volumeMounts"]}
    return volumes == mounted


RULES: dict[str, Callable[[Document], bool]] = {
    "restricted": _restricted,
    "sidecars": _native_sidecars_in_order,
    "agent": _agent_reaches_its_socket_alone,
    "socket volume": _socket_volume_holds_sockets_alone,
    "gate": _gate_cannot_command,
    "users": _users_are_distinct,
    "state": _state_outlives_the_pod,
    "probes": _probes_ask_the_process,
    "resources": _resources_are_bounded,
    "credentials": _no_credentials_lie_around,
    "volumes": _every_mount_has_its_volume,
}


def _broken(pod: Document) -> set[str]:
    return {name for name, rule in RULES.items() if not rule(pod)}


def test_the_pod_keeps_every_rule() -> None:
    """The whole table holds for the file as it is."""
    assert _broken(_pod()) == set()


def _set(where: Callable[[Document], Document], key: str, value: Any) -> Callable[[Document], None]:
    """Return a change that sets one field."""

    def change(pod: Document) -> None:
        where(pod)[key] = value

    return change


def _mount(container: str, volume: str, path: str) -> Callable[[Document], None]:
    """Return a change that mounts one more volume."""

    def change(pod: Document) -> None:
        (target,) = [c for c in _containers(pod) if c["name"] == container]
        target["volumeMounts"].append({"name": volume, "mountPath": path})

    return change


def _context(name: str) -> Callable[[Document], Document]:
    return lambda pod: next(c for c in _containers(pod) if c["name"] == name)["securityContext"]


def _spec(pod: Document) -> Document:
    spec: Document = pod["spec"]
    return spec


def _volume(name: str) -> Callable[[Document], Document]:
    return lambda pod: next(v for v in pod["spec"]["volumes"] if v["name"] == name)


MUTATIONS: dict[str, tuple[Callable[[Document], None], str]] = {
    "root agent": (_set(_context("agent"), "runAsUser", 0), "restricted"),
    "writable root": (_set(_context("gate"), "readOnlyRootFilesystem", False), "restricted"),
    "escalation": (_set(_context("control"), "allowPrivilegeEscalation", True), "restricted"),
    "capability": (_set(_context("gate"), "capabilities", {"drop": []}), "restricted"),
    "no seccomp": (
        _set(lambda pod: pod["spec"]["securityContext"], "seccompProfile", {"type": "Unconfined"}),
        "restricted",
    ),
    "host network": (_set(_spec, "hostNetwork", True), "restricted"),
    "host path": (_set(_volume("agent-tmp"), "hostPath", {"path": "/"}), "restricted"),
    "plain init": (_set(lambda pod: _init(pod, "gate"), "restartPolicy", None), "sidecars"),
    "agent sees state": (_mount("agent", "state", "/state"), "agent"),
    "agent sees sync socket": (_mount("agent", "internal", "/run/holdfast/internal"), "agent"),
    "agent may replace its socket": (
        _set(lambda pod: _mounts(_agent(pod))["/run/holdfast/agents"], "readOnly", False),
        "agent",
    ),
    "sockets shared with control": (_mount("control", "agent-socket", "/agents"), "socket volume"),
    "sockets on disk": (_set(_volume("agent-socket"), "emptyDir", {"medium": ""}), "socket volume"),
    "gate writes the latch": (
        _set(lambda pod: _mounts(_init(pod, "gate"))["/var/lib/holdfast/latch"], "readOnly", False),
        "gate",
    ),
    "gate sees keys": (
        lambda pod: _init(pod, "gate")["volumeMounts"].append(
            {"name": "control-private", "mountPath": "/keys", "subPath": "tls"}
        ),
        "gate",
    ),
    "one user": (_set(_context("agent"), "runAsUser", 65532), "users"),
    "forgetful state": (
        lambda pod: _volume("state")(pod).pop("persistentVolumeClaim"),
        "state",
    ),
    "re-owned state": (
        _set(lambda pod: pod["spec"]["securityContext"], "fsGroupChangePolicy", "Always"),
        "state",
    ),
    "hollow probe": (
        _set(lambda pod: _init(pod, "gate")["startupProbe"], "exec", {"command": ["true"]}),
        "probes",
    ),
    "unbounded memory": (
        _set(lambda pod: _init(pod, "gate")["resources"], "limits", {}),
        "resources",
    ),
    "throttled kill": (
        _set(lambda pod: _init(pod, "control")["resources"]["limits"], "cpu", "1"),
        "resources",
    ),
    "account token": (_set(_spec, "automountServiceAccountToken", True), "credentials"),
    "seen processes": (_set(_spec, "shareProcessNamespace", True), "credentials"),
    "agent sees secret": (_mount("agent", "tls", "/secret"), "credentials"),
    "missing volume": (_mount("gate", "nowhere", "/nowhere"), "volumes"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_pod_keeps_every_rule_negative_control(name: str) -> None:
    """Each single change that would open something breaks the rule that guards it."""
    change, rule = MUTATIONS[name]
    pod = _pod()

    change(pod)

    assert rule in _broken(pod)


def test_every_rule_has_a_negative_control() -> None:
    """No rule is in the table that nothing could break."""
    assert {rule for _, rule in MUTATIONS.values()} == RULES.keys()


def test_the_settings_are_accepted(tmp_path: Path) -> None:
    """Control starts with the settings in the file, and the pod mounts what they name."""
    text = _documents()["ConfigMap"]["data"]["holdfast.yaml"]
    path = tmp_path / "holdfast.yaml"
    path.write_text(text, encoding="utf-8")
    control = _init(_pod(), "control")

    settings = Settings.load(environ={}, config=path)

    settings.check_for_control(is_dev=False)
    assert settings.tls_key is not None
    assert {str(settings.state_dir), str(settings.bundle), str(settings.tls_key.parent)} <= set(
        _mounts(control)
    )
    assert settings.listen.endswith(f":{control['ports'][0]['containerPort']}")


def test_the_volume_claim_is_for_one_pod() -> None:
    """Two controls on one latch would be two truths."""
    claim = _documents()["PersistentVolumeClaim"]
    (state,) = [v for v in _pod()["spec"]["volumes"] if v["name"] == "state"]

    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert state["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


READ_ONLY_MOUNT = """
import os, socket, sys
directory = sys.argv[1]
path = directory + "/guard.sock"
socket.socket(socket.AF_UNIX).connect(path)
print("connected")
for what, attempt in {
    "unlink": lambda: os.unlink(path),
    "rename": lambda: os.rename(path, path + ".old"),
    "create": lambda: open(directory + "/other", "w"),
}.items():
    try:
        attempt()
        print(what, "done")
    except OSError as error:
        print(what, error.strerror)
"""


@pytest.mark.parametrize("option", ["ro", "rw"])
def test_a_read_only_mount_lets_the_agent_connect_but_not_replace(
    tmp_path: Path, option: str
) -> None:
    """What the pod builds on, tried on this kernel; mounted read-write, the attack succeeds."""
    home = tmp_path / "s"
    home.mkdir()
    server = socket.socket(socket.AF_UNIX)
    server.bind(os.fspath(home / "guard.sock"))
    server.listen()
    mount = f'mount --bind "$1" "$1" && mount -o remount,bind,{option} "$1" || exit 77; '
    shell = mount + 'exec "$2" -c "$3" "$1"'

    try:
        result = subprocess.run(
            ["unshare", "--mount", "sh", "-c", shell, "sh", home, sys.executable, READ_ONLY_MOUNT],
            capture_output=True,
            text=True,
            timeout=30,
        )
    except FileNotFoundError:
        pytest.skip("needs unshare")
    finally:
        server.close()
    if result.returncode == 77 or result.stderr.startswith("unshare:"):
        pytest.skip("needs the right to mount (root)")

    refused = "Read-only file system"
    first, *rest = result.stdout.splitlines()
    attempts = dict(line.split(" ", 1) for line in rest)
    assert first == "connected"
    if option == "ro":
        assert attempts == {"unlink": refused, "rename": refused, "create": refused}
    else:
        assert attempts["unlink"] == "done"
        assert attempts["create"] == "done"
