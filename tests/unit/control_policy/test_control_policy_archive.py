# SPDX-License-Identifier: Apache-2.0
"""The copies that control keeps of the bundle in force."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.control import policy_archive
from sidecar.control.policy_archive import PolicyArchive
from sidecar.errors import EnvironmentFailure
from sidecar.policy.bundle import Bundle, load_bundle_from_files

HEAD = {
    "tools.yaml": b"version: 1\ntools:\n  ping:\n    class: read\n  pay:\n    class: write\n",
    "agents.yaml": b"version: 1\nagents:\n  banking:\n    owner: emma@example.com\n",
    "operators.yaml": b"version: 1\noperators: {}\n",
}
PING = '@id("ping") permit(principal, action == Action::"ping", resource);\n'
PAY = '@id("pay") permit(principal, action == Action::"pay", resource);\n'


def bundle(policies: str = PING) -> Bundle:
    """Return a bundle with *policies*."""
    return load_bundle_from_files({**HEAD, "policies/main.cedar": policies.encode()})


@pytest.fixture
def archive(tmp_path: Path) -> PolicyArchive:
    """An archive that nothing was saved in yet."""
    tmp_path.chmod(0o700)
    return PolicyArchive(tmp_path / "policy")


def path_of(archive: PolicyArchive, digest: str) -> Path:
    """Return where *digest* is kept."""
    return archive.directory / f"{digest}.json"


def test_what_was_saved_is_loaded(archive: PolicyArchive) -> None:
    """The same bundle comes back, from a private file in a private directory."""
    one = bundle()
    archive.save(one)
    found = archive.load(one.digest)

    assert found is not None
    assert (found.digest, dict(found.files)) == (one.digest, dict(one.files))
    assert archive.holds(one.digest)
    assert stat.S_IMODE(path_of(archive, one.digest).stat().st_mode) == 0o600
    assert stat.S_IMODE(archive.directory.stat().st_mode) == 0o700


def test_nothing_is_there_before_the_first(archive: PolicyArchive) -> None:
    """An archive that was never made has nothing, and says so without an error."""
    assert archive.load("0" * 64) is None
    assert not archive.holds("0" * 64)
    assert archive.latest() == ""


def test_k06_other_content_under_the_name_is_missing(archive: PolicyArchive) -> None:
    """A looser bundle under the digest of the stricter one is not that bundle."""
    strict, loose = bundle(), bundle(PING + PAY)
    archive.save(loose)
    path_of(archive, loose.digest).rename(path_of(archive, strict.digest))

    assert archive.load(strict.digest) is None
    assert not archive.holds(strict.digest)


def test_k06_other_content_under_the_name_negative_control(
    archive: PolicyArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the comparison of digests it would be taken for it."""
    strict, loose = bundle(), bundle(PING + PAY)
    archive.save(loose)
    path_of(archive, loose.digest).rename(path_of(archive, strict.digest))
    monkeypatch.setattr(policy_archive, "_require_digest", lambda files, digest: None)
    found = archive.load(strict.digest)

    assert found is not None
    assert found.digest == loose.digest


def _text(data: bytes) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        path.write_bytes(data)

    return spoil


def _link(path: Path) -> None:
    path.rename(path.with_name("real"))
    path.symlink_to(path.with_name("real"))


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(_text(b""), id="empty"),
        pytest.param(_text(b"\xff\x00"), id="binary"),
        pytest.param(_text(b"[" * 100_000), id="deep"),
        pytest.param(_text(b"[]"), id="list"),
        pytest.param(_text(b'{"v":2,"files":{}}'), id="other-version"),
        pytest.param(_text(b'{"v":1,"files":{"tools.yaml":"?"}}'), id="no-base64"),
        pytest.param(_text(b'{"v":1,"files":{"tools.yaml":1}}'), id="number"),
        pytest.param(lambda path: path.chmod(0o644), id="readable"),
        pytest.param(_link, id="link"),
    ],
)
def test_k01_a_spoilt_copy_is_missing(
    archive: PolicyArchive, spoil: Callable[[Path], None]
) -> None:
    """Whatever it is, it is not used, and it is no crash."""
    one = bundle()
    archive.save(one)
    spoil(path_of(archive, one.digest))

    assert archive.load(one.digest) is None


def test_the_one_in_force_and_the_new_one_are_kept(archive: PolicyArchive) -> None:
    """A third removes the first; one that never came into force does not push out the one that is."""
    first, second, third = bundle(), bundle(PAY), bundle(PING + PAY)
    archive.save(first)
    archive.save(second, in_force=first.digest)
    archive.save(third, in_force=first.digest)

    assert [archive.holds(one.digest) for one in (first, second, third)] == [True, False, True]
    assert archive.latest() == third.digest


def test_k07_a_write_that_fails_leaves_what_was_there(
    archive: PolicyArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is an environment failure; the copy of the bundle in force is untouched."""
    first, second = bundle(), bundle(PAY)
    archive.save(first)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(EnvironmentFailure, match="No space left"):
            archive.save(second, in_force=first.digest)
    left = archive.holds(first.digest), archive.holds(second.digest)
    archive.save(first, in_force=first.digest)

    assert left == (True, False)
    assert [path.name for path in archive.directory.iterdir()] == [f"{first.digest}.json"]
