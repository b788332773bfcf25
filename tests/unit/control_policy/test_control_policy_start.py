# SPDX-License-Identifier: Apache-2.0
"""Which bundle decides when control starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.control import policy_start
from sidecar.control.policy_archive import PolicyArchive
from sidecar.control.policy_start import LOCAL_START, PolicyAtStart, policy_at_start
from sidecar.errors import ConfigurationError, EnvironmentFailure
from sidecar.policy.bundle import Bundle, load_bundle_from_files
from sidecar.policy.engine import PolicyEngine

HEAD = {
    "tools.yaml": b"version: 1\ntools:\n  ping:\n    class: read\n  pay:\n    class: write\n",
    "agents.yaml": b"version: 1\nagents:\n  banking:\n    owner: emma@example.com\n",
    "operators.yaml": b"version: 1\noperators: {}\n",
}
PING = '@id("ping") permit(principal, action == Action::"ping", resource);\n'
PAY = '@id("pay") permit(principal, action == Action::"pay", resource);\n'
NEVER = '@id("never") forbid(principal, action == Action::"ping", resource);\n'


def _bundle(policies: str) -> Bundle:
    return load_bundle_from_files({**HEAD, "policies/main.cedar": policies.encode()})


STRICT, LOOSE, TIGHT = _bundle(PING), _bundle(PING + PAY), _bundle(PING + NEVER)


@pytest.fixture
def archive(tmp_path: Path) -> PolicyArchive:
    """An archive that nothing was saved in yet."""
    tmp_path.chmod(0o700)
    return PolicyArchive(tmp_path / "policy")


def start(
    archive: PolicyArchive, found: Bundle, named: str, *, is_dev: bool = False, accepted: str = ""
) -> PolicyAtStart:
    """Start over *found*, with a latch that names *named*."""
    return policy_at_start(
        found,
        PolicyEngine(found),
        directory=Path("/etc/holdfast/bundle"),
        archive=archive,
        named=named,
        is_dev=is_dev,
        accepted=accepted,
    )


def test_first_start_takes_what_lies_there(archive: PolicyArchive) -> None:
    """Nothing was in force, so nothing is loosened."""
    begin = start(archive, LOOSE, "")

    assert (begin.bundle, begin.set_aside) == (LOOSE, "")


@pytest.mark.parametrize("is_latch_lost", [False, True], ids=["", "latch-lost"])
def test_k06_looser_is_set_aside(archive: PolicyArchive, is_latch_lost: bool) -> None:
    """What is in force goes on, with its own engine, and the reasons are told."""
    archive.save(STRICT)
    begin = start(archive, LOOSE, "" if is_latch_lost else STRICT.digest)

    assert begin.bundle.digest == STRICT.digest
    assert begin.bundle.files == STRICT.files
    assert begin.set_aside == LOOSE.digest
    assert list(begin.reasons) == ["permit pay is new"]


def test_k06_looser_is_set_aside_negative_control(
    archive: PolicyArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the comparison it would decide."""
    archive.save(STRICT)
    monkeypatch.setattr(policy_start, "may_permit_more", lambda old, new: (False, ()))

    assert start(archive, LOOSE, STRICT.digest).bundle is LOOSE


def test_tighter_decides_at_once(archive: PolicyArchive) -> None:
    """One hand is enough to tighten, at a start as well."""
    archive.save(STRICT)

    assert start(archive, TIGHT, STRICT.digest).bundle is TIGHT


def test_development_lets_the_directory_decide(archive: PolicyArchive) -> None:
    """With the copy, and without it."""
    alone = start(archive, LOOSE, STRICT.digest, is_dev=True)
    archive.save(STRICT)
    beside = start(archive, LOOSE, STRICT.digest, is_dev=True)

    assert alone.bundle is beside.bundle is LOOSE


def test_k06_what_cannot_be_compared_does_not_start(archive: PolicyArchive) -> None:
    """Tighter or looser: nobody can tell. The error names both digests and the remedy."""
    for accepted in ("", STRICT.digest):
        with pytest.raises(ConfigurationError) as caught:
            start(archive, TIGHT, STRICT.digest, accepted=accepted)

        said = str(caught.value)
        assert all(part in said for part in ("/etc/holdfast/bundle", STRICT.digest, TIGHT.digest))
        assert f"--accept-policy {TIGHT.digest}" in said


def test_accepted_digest_counts_only_where_nothing_can_be_compared(archive: PolicyArchive) -> None:
    """Given once it lets control start; left in a unit file, it brings nothing looser back."""
    once = start(archive, LOOSE, STRICT.digest, accepted=LOOSE.digest)
    archive.save(STRICT)
    later = start(archive, LOOSE, STRICT.digest, accepted=LOOSE.digest)

    assert (once.bundle, once.author) == (LOOSE, LOCAL_START)
    assert later.bundle.digest == STRICT.digest


def test_state_without_a_copy_gets_one(
    archive: PolicyArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies there is in force and not saved yet: saved; where that fails, control starts still."""

    def fail(self: PolicyArchive, bundle: Bundle, *, in_force: str = "") -> None:
        raise EnvironmentFailure("no space")

    with monkeypatch.context() as patched:
        patched.setattr(PolicyArchive, "save", fail)
        begin = start(archive, STRICT, STRICT.digest)
    start(archive, STRICT, STRICT.digest)

    assert begin.bundle is STRICT
    assert archive.holds(STRICT.digest)
