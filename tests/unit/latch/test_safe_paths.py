# SPDX-License-Identifier: Apache-2.0
"""Paths that somebody else could have prepared are refused."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar import safe_paths
from sidecar.errors import EnvironmentFailure, ErrorReason
from sidecar.safe_paths import (
    check_directory,
    check_secret_file,
    ensure_private_directory,
    open_directory,
    read_secret_file,
)

FOREIGN = 65534


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make *path* somebody else's: really as root, else by being somebody else ourselves."""
    if os.geteuid() == 0:
        os.chown(path, FOREIGN, -1, follow_symlinks=False)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: FOREIGN)


def refusal(check: Callable[[], object]) -> EnvironmentFailure:
    """Return the error that *check* raises."""
    with pytest.raises(EnvironmentFailure) as caught:
        check()
    assert caught.value.reason is ErrorReason.UNSAFE_PATH
    return caught.value


def test_private_directory_is_made(tmp_path: Path) -> None:
    """A missing directory, and what is above it, is made with the mode that was asked for."""
    path = tmp_path / "state" / "latch"
    old_umask = os.umask(0o077)
    try:
        ensure_private_directory(path, 0o750)
    finally:
        os.umask(old_umask)

    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    ensure_private_directory(path, 0o750)


def test_narrower_directory_is_as_good(tmp_path: Path) -> None:
    """A directory that is more private than needed passes."""
    tmp_path.chmod(0o700)

    check_directory(tmp_path, mode=0o750)


def test_opened_directory_is_the_checked_one(tmp_path: Path) -> None:
    """The descriptor leads to the directory at the path."""
    descriptor = open_directory(tmp_path)
    try:
        assert os.fstat(descriptor).st_ino == tmp_path.stat().st_ino
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("mode", [0o701, 0o705, 0o720, 0o770, 0o777])
def test_k01_h05_wide_directory_is_refused_with_its_remedy(tmp_path: Path, mode: int) -> None:
    """A directory that others can read or write is refused; the hint repairs it."""
    path = tmp_path / "keys"
    path.mkdir()
    path.chmod(mode)

    error = refusal(lambda: check_directory(path))

    assert str(path) in error.message
    assert error.hint in (f"chmod 0700 {path}", f"chmod go-w {path}")


def test_k01_h05_symlinked_directory_is_refused(tmp_path: Path) -> None:
    """A link in the place of the directory is refused, wherever it leads."""
    real = tmp_path / "real"
    real.mkdir(mode=0o700)
    path = tmp_path / "keys"
    path.symlink_to(real)

    error = refusal(lambda: ensure_private_directory(path))

    assert "symbolic link" in error.message


def test_h05_foreign_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory of another user is refused."""
    path = tmp_path / "keys"
    path.mkdir(mode=0o700)
    give_away(path, monkeypatch)

    error = refusal(lambda: check_directory(path))

    assert "owned by user" in error.message


def test_named_owner_is_trusted(tmp_path: Path) -> None:
    """The user of control may own what a gate maps."""
    path = tmp_path / "latch"
    path.mkdir(mode=0o750)
    if os.geteuid() == 0:
        os.chown(path, FOREIGN, -1)

    check_directory(path, mode=0o750, owners=[FOREIGN])


def test_h05_component_that_others_can_rename_is_refused(tmp_path: Path) -> None:
    """Above the directory nothing is writable for others, so nothing can be swapped."""
    parent = tmp_path / "shared"
    path = parent / "keys"
    path.mkdir(parents=True, mode=0o700)
    parent.chmod(0o777)

    error = refusal(lambda: check_directory(path))

    assert error.message.startswith(f"{parent} ")
    assert error.hint == f"chmod go-w {parent}"


def test_sticky_parent_is_no_danger(tmp_path: Path) -> None:
    """Under a sticky directory like /tmp, what is ours stays ours."""
    parent = tmp_path / "tmp"
    path = parent / "keys"
    path.mkdir(parents=True, mode=0o700)
    path.chmod(0o700)
    parent.chmod(0o1777)

    check_directory(path)


def test_h05_foreign_link_on_the_way_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link above the directory counts only if root made it."""
    (tmp_path / "real" / "keys").mkdir(parents=True, mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    give_away(tmp_path / "link", monkeypatch)

    refusal(lambda: check_directory(tmp_path / "link" / "keys"))


@pytest.mark.parametrize("target", ["{0}/real", "real"])
def test_link_of_root_is_followed_and_checked(tmp_path: Path, target: str) -> None:
    """A link that root made (/var/run) passes if what it leads to passes."""
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "real" / "keys").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(target.format(tmp_path))
    if os.geteuid() != 0:
        refusal(lambda: check_directory(tmp_path / "link" / "keys"))
        return

    check_directory(tmp_path / "link" / "keys")
    (tmp_path / "real").chmod(0o777)
    error = refusal(lambda: check_directory(tmp_path / "link" / "keys"))
    assert error.message.startswith(f"{tmp_path / 'real'} ")


def test_link_to_a_link_is_refused(tmp_path: Path) -> None:
    """Chains of links are not followed."""
    (tmp_path / "keys").mkdir(mode=0o700)
    (tmp_path / "one").symlink_to(tmp_path)
    (tmp_path / "two").symlink_to(tmp_path / "one")

    refusal(lambda: check_directory(tmp_path / "two" / "keys"))


@pytest.mark.parametrize("kind", ["file", "missing"])
def test_what_is_no_directory_is_refused(tmp_path: Path, kind: str) -> None:
    """A file, or nothing, is no directory."""
    path = tmp_path / "keys"
    if kind == "file":
        path.touch()

    refusal(lambda: check_directory(path))
    refusal(lambda: check_directory(path / "below"))


def test_directory_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    """A file where a parent should be is an environment failure with a hint."""
    (tmp_path / "file").touch()

    with pytest.raises(EnvironmentFailure, match="cannot be made") as caught:
        ensure_private_directory(tmp_path / "file" / "keys")

    assert caught.value.hint


def test_h05_wide_directory_negative_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the guard patched out, the prepared directory is accepted."""
    parent = tmp_path / "shared"
    path = parent / "keys"
    path.mkdir(parents=True, mode=0o700)
    parent.chmod(0o777)
    monkeypatch.setattr(safe_paths, "_check_ancestors", lambda *_: None)

    check_directory(path)


# -- secrets ------------------------------------------------------------------------------------


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A key file as it should be."""
    path = tmp_path / "key.pem"
    path.write_bytes(b"secret")
    path.chmod(0o600)
    return path


def test_private_secret_is_read(secret: Path) -> None:
    """A file that is ours alone is read."""
    check_secret_file(secret)

    assert read_secret_file(secret) == b"secret"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o666])
def test_k01_secret_that_others_can_reach_is_refused(secret: Path, mode: int) -> None:
    """A key that group or world can read or write is refused, and the hint repairs it."""
    secret.chmod(mode)

    error = refusal(lambda: check_secret_file(secret))

    assert error.hint == f"chmod 0600 {secret}"
    assert "secret" not in error.message.replace(str(secret), "")


def test_k01_foreign_secret_is_refused(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of another user is refused."""
    give_away(secret, monkeypatch)

    refusal(lambda: read_secret_file(secret))


def test_k01_symlinked_secret_is_refused(secret: Path, tmp_path: Path) -> None:
    """A link in the place of a key is refused."""
    link = tmp_path / "link.pem"
    link.symlink_to(secret)

    refusal(lambda: read_secret_file(link))


def test_k01_secret_below_a_wide_directory_is_refused(tmp_path: Path, secret: Path) -> None:
    """A key that somebody could put another key in place of is refused."""
    tmp_path.chmod(0o777)
    try:
        refusal(lambda: check_secret_file(secret))
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("kind", ["directory", "pipe", "missing"])
def test_k01_secret_that_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    """A directory, a pipe (without hanging) and nothing are no key."""
    path = tmp_path / "key"
    if kind == "directory":
        path.mkdir(mode=0o700)
    elif kind == "pipe":
        os.mkfifo(path, 0o600)

    refusal(lambda: check_secret_file(path))


def test_huge_secret_is_not_read(secret: Path) -> None:
    """A file that is longer than any key is refused."""
    with pytest.raises(EnvironmentFailure, match="longer"):
        read_secret_file(secret, max_bytes=5)


def test_k01_secret_negative_control(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the guard patched out, a world-readable key is accepted."""
    secret.chmod(0o644)
    monkeypatch.setattr(safe_paths, "_OTHERS_ANY", 0)

    assert read_secret_file(secret) == b"secret"
