# SPDX-License-Identifier: Apache-2.0
"""otupy's OpenC2 producer against a live control: its classes, its encoder, its HTTPS transfer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.jsonapi.openc2 import PAIRS
from tests.soar.host import SoarBed
from tests.soar.venvs import python_of
from tests.support.certificates import Authority
from tests.support.clients import new_id
from tests.support.processes import Zygote

_PRODUCER = Path(__file__).resolve().parent / "openc2_producer.py"
Send = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def interpreter() -> Path:
    """The Python that has otupy."""
    found = python_of("openc2")
    if isinstance(found, str):
        print(f"  openc2         NOT RUN: {found}", file=sys.__stderr__, flush=True)
        pytest.skip(found)
    return found


@pytest.fixture(scope="module")
def bed(zygote: Zygote, authority: Authority) -> Iterator[SoarBed]:
    """A control that playbooks reach, with agents of whom some need a second human."""
    host = SoarBed(zygote, authority, spare_agents=6, guarded=2)
    try:
        host.begin()
        yield host
    finally:
        host.close()


@pytest.fixture
def send(bed: SoarBed, interpreter: Path, tmp_path: Path) -> Send:
    """Have otupy send commands, and return what it read from each answer."""
    ca = tmp_path / "ca.pem"
    ca.write_text(bed.ca)

    def sent(
        *commands: dict[str, Any], token: str = "", trusted: Path = ca
    ) -> list[dict[str, Any]]:
        port = int(bed.api_listen.rsplit(":", 1)[1])
        order = {
            "host": "localhost",
            "port": port,
            "ca": str(trusted),
            "token": token or bed.token("soar-all", "contain", "release", "audit-read"),
            "commands": commands,
        }
        done = subprocess.run(
            [str(interpreter), str(_PRODUCER)],
            input=json.dumps(order),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return [json.loads(line) for line in done.stdout.splitlines()]

    return sent


def _command(action: str, target: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"action": action, "target": target, "value": value, **more}


def test_features_are_read_by_otupy(send: Send) -> None:
    """Versions, profile, pairs and rate limit come through its own types."""
    (answer,) = send(_command("query", "features", ["versions", "profiles", "pairs", "rate_limit"]))

    assert (answer["type"], answer["status"], answer["from"]) == (
        "Response",
        200,
        "holdfast-control",
    )
    assert answer["results"]["profiles"] == ["x-holdfast"]
    assert answer["results"]["rate_limit"] == 6000
    assert set(answer["results"]["pairs"]) == set(PAIRS)
    assert answer["request_id"]


def test_stop_and_restore(bed: SoarBed, send: Send) -> None:
    """A kill is in force, once for one command; the restore of it waits for a human, and is done."""
    name, key = bed.fresh_agent(), new_id()
    stop = _command(
        "stop", "x-holdfast:agent", {"agent": name}, id=key, args={"reason": "it runs wild"}
    )
    first, again = send(stop, stop)
    killed = bed.verdict(name)
    restore = _command("restore", "x-holdfast:agent", {"agent": name}, id=new_id())
    (asked,) = send(restore)
    operation = asked["results"]["x-holdfast"]["releases"][0]["operation"]["name"]
    bed.decide(operation, "GRANT")
    (done,) = send(restore)

    assert (first["status"], again["status"], killed) == (200, 200, "DENY KILLED")
    epochs = {
        one["results"]["x-holdfast"]["receipt"]["directive"]["epoch"] for one in (first, again)
    }
    assert len(epochs) == 1
    assert (asked["status"], done["status"]) == (102, 200)
    assert bed.verdict(name) == "ALLOW POLICY_ALLOW"


def test_what_waits_what_is_wrong_and_what_is_not_done(bed: SoarBed, send: Send) -> None:
    """102, 400, 403, 404 and 501 as otupy reads them."""
    key, name = new_id(), bed.fresh_agent()
    answers = send(
        _command("stop", "x-holdfast:agent", {"agent": bed.fresh_guarded()}, id=new_id()),
        _command("stop", "x-holdfast:agent", {"agent": name}, id=key),
        _command("stop", "x-holdfast:agent", {"agent": bed.fresh_agent()}, id=key),
        _command("query", "x-holdfast:agent", {"agent": "nobody-knows"}),
        _command("deny", "file", "evil.exe", id=new_id()),
        _command("contain", "x-holdfast:session", {"agent": name, "session": "s1"}, id=new_id()),
        _command("delete", "x-holdfast:token", {"agent": name}, id=new_id()),
    )
    (forbidden,) = send(
        _command("restore", "x-holdfast:directive", {"epoch": 1}, id=new_id()),
        token=bed.token("soar-contain", "contain"),
    )
    (stranger,) = send(_command("query", "features", []), token="hfat_aaaaaaaaaaaa_" + "a" * 43)

    assert [one["status"] for one in answers] == [102, 200, 400, 404, 501, 200, 200]
    assert (forbidden["status"], stranger["status"]) == (403, 401)


def test_a_control_of_another_ca_is_not_spoken_to_negative_control(
    bed: SoarBed, send: Send, tmp_path: Path
) -> None:
    """The certificate is checked: with another CA nothing is sent."""
    other = tmp_path / "other.pem"
    other.write_bytes(Authority("another CA").pem)

    with pytest.raises(AssertionError):
        send(_command("query", "features", []), trusted=other)
