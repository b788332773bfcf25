# SPDX-License-Identifier: Apache-2.0
"""Programs: a file on disk, not a word; and still the same file at the moment of use."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from sidecar.arguments import executables, resolve_executable, verify_executable
from sidecar.model import ReasonCode
from sidecar.shape import ShapeError


@pytest.fixture
def bin_dir(tmp_path: Path) -> Path:
    """Return a real directory with a program, another one, and links to it."""
    base = tmp_path.resolve() / "bin"
    base.mkdir()
    for name in ("tool", "tool ", "other"):
        program(base / name, f"#!/bin/sh\necho {name}\n")
    (base / "linked").symlink_to(base / "tool")
    (base.parent / "linked-bin").symlink_to(base)
    (base / "plain").write_text("no program")
    return base


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    """Write an executable file."""
    path.write_text(text)
    path.chmod(0o755)
    return path


def refused(argv0: Any, **options: bool) -> ShapeError:
    """Return the refusal of *argv0*."""
    with pytest.raises(ShapeError) as caught:
        resolve_executable(argv0, **options)
    assert caught.value.code is ReasonCode.SCHEMA
    return caught.value


def test_a11_a_program_is_its_file(bin_dir: Path) -> None:
    """The identity names device, inode, size and change time; the content only if pinned."""
    path = bin_dir / "tool"
    status = path.stat()

    identity = resolve_executable(str(path))
    pinned = resolve_executable(str(path), pin_content=True)

    assert (identity.path, identity.device, identity.inode) == (
        str(path),
        status.st_dev,
        status.st_ino,
    )
    assert (identity.size, identity.change_time_ns) == (status.st_size, status.st_ctime_ns)
    assert identity.sha256 == ""
    assert pinned.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    verify_executable(identity)
    verify_executable(pinned)


@pytest.mark.parametrize(
    "argv0",
    ["", "tool", "./tool", "../bin/tool", "sh", " /bin/sh", None, 5, b"/bin/sh"],
    ids=repr,
)
def test_a11_words_and_relative_paths_are_no_programs(argv0: Any) -> None:
    """Nothing is searched for in PATH or in the working directory."""
    refused(argv0)


@pytest.mark.parametrize(
    "tail",
    [
        "tool ",
        "tool\t",
        "tool\n",
        "linked",
        "plain",
        "missing",
        "",
        "tool/",
        "./tool",
        "../bin/tool",
    ],
)
def test_a11_other_files_of_nearly_that_name_are_refused(bin_dir: Path, tail: str) -> None:
    """A blank at the end, a link, a file that is no program, a directory, a detour."""
    refused(f"{bin_dir}/{tail}")


def test_a11_links_on_the_way_are_refused(bin_dir: Path) -> None:
    """A linked directory is as bad as a linked program."""
    refused(str(bin_dir.parent / "linked-bin" / "tool"))
    refused("/proc/self/exe")
    refused(f"/proc/{os.getpid()}/exe")


def test_a11_programs_that_everybody_may_write_are_refused(bin_dir: Path) -> None:
    """Their identity would say nothing a moment later."""
    (bin_dir / "tool").chmod(0o777)

    refused(str(bin_dir / "tool"))


def swap_by_rename(path: Path) -> None:
    program(path.with_name("fresh"), "#!/bin/sh\necho evil\n").rename(path)


def swap_by_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("other"))


def overwrite(path: Path) -> None:
    path.write_text("#!/bin/sh\necho evil\n")


def overwrite_and_restore_times(path: Path) -> None:
    before = path.stat()
    text = path.read_text()
    path.write_text(text.replace("tool", "evil"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def move_parent(path: Path) -> None:
    path.parent.rename(path.parent.with_name("gone"))
    path.parent.mkdir()
    program(path)


def remove(path: Path) -> None:
    path.unlink()


def take_execute_bit(path: Path) -> None:
    path.chmod(0o644)


@pytest.mark.parametrize(
    "attack",
    [
        swap_by_rename,
        swap_by_link,
        overwrite,
        overwrite_and_restore_times,
        move_parent,
        remove,
        take_execute_bit,
    ],
)
@pytest.mark.parametrize("pin_content", [False, True])
def test_a11_a_changed_program_is_refused_at_use(
    bin_dir: Path, attack: Any, pin_content: bool
) -> None:
    """Whatever happens to the file between decision and use, the use is refused."""
    path = bin_dir / "tool"
    identity = resolve_executable(str(path), pin_content=pin_content)
    attack(path)

    with pytest.raises(ShapeError) as caught:
        verify_executable(identity)

    assert caught.value.code is ReasonCode.SCHEMA


def test_a11_negative_control(bin_dir: Path) -> None:
    """Comparing names, or basenames, would let the swapped program run."""
    path = bin_dir / "tool"
    identity = resolve_executable(str(path))
    swap_by_rename(path)

    assert identity.path == str(path)
    assert Path(identity.path).name == "tool"
    assert "evil" in path.read_text()


def test_a11_change_time_negative_control(bin_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Device, inode and size alone do not see an overwritten file of equal length."""
    path = bin_dir / "tool"
    identity = resolve_executable(str(path))
    overwrite_and_restore_times(path)
    now = resolve_executable(str(path))

    assert (now.device, now.inode, now.size) == (identity.device, identity.inode, identity.size)
    assert now.change_time_ns != identity.change_time_ns


def test_a11_huge_programs_are_not_read(bin_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pinning has a limit on size, exact to the byte."""
    path = bin_dir / "tool"
    size = path.stat().st_size
    monkeypatch.setattr(executables, "_MAX_PINNED_BYTES", size)
    assert resolve_executable(str(path), pin_content=True)

    monkeypatch.setattr(executables, "_MAX_PINNED_BYTES", size - 1)

    refused(str(path), pin_content=True)


def test_a11_programs_that_cannot_be_read_cannot_be_pinned(
    bin_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read error is a refusal by the domain error."""

    def failing(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr(executables, "open", failing, raising=False)

    refused(str(bin_dir / "tool"), pin_content=True)


def test_a11_a_program_that_changes_while_it_is_read_is_refused(
    bin_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digest is of one state of the file, or there is none."""
    path = bin_dir / "tool"

    class GrowingDigest:
        """Lets the file grow by one byte while it is read."""

        is_done = False

        def update(self, _: bytes) -> None:
            if not self.is_done:
                self.is_done = True
                with path.open("a") as file:
                    file.write("x")

    monkeypatch.setattr(executables.hashlib, "sha256", GrowingDigest)

    assert "changed" in str(refused(str(path), pin_content=True))
