# SPDX-License-Identifier: Apache-2.0
"""Keys from a file: read whole, once, and only from a file that can be trusted."""

from __future__ import annotations

import os

import pytest

from sidecar.errors import EnvironmentFailure, ErrorReason, UntrustedInputError
from sidecar.tokens import jwks_file as file_module
from sidecar.tokens.jwks import MAX_SET_BYTES
from sidecar.tokens.jwks_file import JwksFile


@pytest.fixture
def path(tmp_path, idp):
    path = tmp_path / "jwks.json"
    path.write_bytes(idp.jwks("ed"))
    path.chmod(0o644)
    return path


async def test_keys_are_read_from_the_file(path):
    """The file's keys arrive, by load and by fetch."""
    assert set(JwksFile(path).load().keys) == set((await JwksFile(path).fetch()).keys) == {"ed"}


def test_symlink_is_followed_to_a_file_that_can_be_trusted(path):
    """Mounted configuration is often a link; what is checked is the file behind it."""
    link = path.with_name("link.json")
    link.symlink_to(path)

    assert JwksFile(link).load().keys


def test_f11_missing_file_is_unavailable(path):
    """No file, no keys."""
    path.unlink()

    with pytest.raises(EnvironmentFailure) as caught:
        JwksFile(path).load()

    assert caught.value.reason is ErrorReason.ISSUER_UNAVAILABLE


def test_k01_world_writable_file_is_refused(path):
    """Whoever can write the file can make tokens."""
    path.chmod(0o646)

    with pytest.raises(EnvironmentFailure) as caught:
        JwksFile(path).load()

    assert caught.value.reason is ErrorReason.UNSAFE_PATH


def test_k01_negative_control(path, monkeypatch):
    """Without the check, a file that everybody may write is believed."""
    path.chmod(0o646)
    monkeypatch.setattr(JwksFile, "_refuse_unsafe", lambda self, status: None)

    assert JwksFile(path).load().keys


def test_k01_file_of_another_user_is_refused(path, monkeypatch):
    """Only root and the user of this process may own a trust anchor."""
    owner = path.stat().st_uid
    monkeypatch.setattr(file_module.os, "geteuid", lambda: owner + 1)
    if owner == 0:
        os.chown(path, 12345, -1)

    with pytest.raises(EnvironmentFailure) as caught:
        JwksFile(path).load()

    assert caught.value.reason is ErrorReason.UNSAFE_PATH


@pytest.mark.parametrize("kind", ["directory", "fifo", "device", "NUL in the name"])
def test_f11_what_is_no_file_is_refused_without_waiting(tmp_path, kind):
    """A FIFO that nobody writes to, a device without end: refused at once."""
    path = tmp_path / "thing"
    match kind:
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case _:
            path = tmp_path / "a\0b"

    with pytest.raises(EnvironmentFailure):
        JwksFile(path).load()


def test_f11_file_without_end_is_refused(path):
    """No more than the limit is read."""
    with path.open("wb") as file:
        file.truncate(10**10)

    with pytest.raises(UntrustedInputError, match=str(MAX_SET_BYTES)):
        JwksFile(path).load()


def test_f11_read_error_is_unavailable(path, monkeypatch):
    """An I/O error is an environment failure, and the descriptor is closed."""

    def fail(handle, count):
        raise OSError(5, "EIO")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(file_module.os, "read", fail)

    with pytest.raises(EnvironmentFailure):
        JwksFile(path).load()
    assert len(os.listdir("/proc/self/fd")) == before
