# SPDX-License-Identifier: Apache-2.0
"""Paths: exactly the file that is spelled, or a refusal; held against ``os.path.realpath``."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path
from typing import Any

import pytest

from sidecar.arguments import check_path, paths
from sidecar.model import ReasonCode
from sidecar.shape import ShapeError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a real directory with files, links and other things that paths can lead over."""
    base = tmp_path.resolve() / "work"
    (base / "a" / "b").mkdir(parents=True)
    (base / "a" / "file").write_text("x")
    (base / "a" / "name with space ").write_text("x")
    (base / "…").write_text("x")
    (base.parent / "secret").mkdir()
    (base.parent / "secret" / "key").write_text("s")
    (base / "link").symlink_to(base / "a")
    (base / "out").symlink_to(base.parent / "secret")
    (base / "a" / "up").symlink_to("..")
    (base / "dangling").symlink_to(base / "nothing")
    (base / "loop").symlink_to("loop")
    (base / "filelink").symlink_to(base.parent / "secret" / "key")
    os.mkfifo(base / "pipe")
    return base


def refused(path: Any, *roots: Path | str) -> ShapeError:
    """Return the refusal of *path*."""
    with pytest.raises(ShapeError) as caught:
        check_path(path, roots=[str(root) for root in roots])
    assert caught.value.code is ReasonCode.SCHEMA
    return caught.value


@pytest.mark.parametrize(
    "tail",
    ["", "/a", "/a/b", "/a/file", "/a/new", "/new/deep/er", "/a/name with space ", "/…", "/..."],
)
def test_a12_plain_paths_pass_as_they_are(tree: Path, tail: str) -> None:
    """Existing files and directories, and names that do not exist yet."""
    path = f"{tree}{tail}"

    assert check_path(path, roots=[str(tree)]) == path


@pytest.mark.parametrize(
    "tail",
    [
        "/",
        "/a/",
        "/a//file",
        "//a",
        "/./a",
        "/a/.",
        "/a/./file",
        "/..",
        "/../secret/key",
        "/a/..",
        "/a/../a/file",
        "/new/../../secret/key",
        "/%2e%2e/secret/key",
        "/%2E%2E/secret",
        "/a%2ffile",
        "/a%2Ffile",
        "/%252e%252e/secret",
        "/a%5cfile",
        "/a%00",
        "/a%41",
        "/a\\file",
        "/..\\secret",
        "/a\0",
        "/a\0/../../secret",
        "/a/file\n",
        "/a\x1b[2J",
        "/a\x7f",
        "/a\x85",
        "/a\u2028",
        "/\ud800",
        "/link",
        "/link/file",
        "/link/new",
        "/out/key",
        "/out",
        "/a/up/a/file",
        "/dangling",
        "/dangling/x",
        "/loop",
        "/loop/x",
        "/filelink",
        "/a/file/x",
        "/pipe",
        "/" + "x" * 256,
        "/new/" + "x" * 256,
        "/new/" + "é" * 128,
        "/x" * 2048,
    ],
    ids=ascii,
)
def test_a12_detours_and_second_spellings_are_refused(tree: Path, tail: str) -> None:
    """Dots, doubled slashes, escapes, links, devices and overlong names."""
    refused(f"{tree}{tail}", tree)


def test_a12_limits_on_length_are_exact(tree: Path) -> None:
    """255 bytes to a name and 4095 to a path pass; one more does not, even where nothing exists."""
    longest = f"{tree}/new/" + "é" * 127 + "x"
    rest = 4095 - len(f"{tree}/new/") - 1
    whole = f"{tree}/new/" + "/".join(["x"] * (rest // 2)) + "/" + "x" * (1 + rest % 2)

    assert check_path(longest, roots=[str(tree)])
    assert len(whole) == 4095
    assert check_path(whole, roots=[str(tree)])
    refused(longest + "x", tree)
    refused(whole + "x", tree)


@pytest.mark.parametrize("tail", ["link", "link/file", "link/new", "out/key", "dangling", "loop/x"])
def test_a12_refusals_say_that_a_link_is_in_the_way(tree: Path, tail: str) -> None:
    """Whoever wrote the path learns what to change."""
    assert "symbolic link" in str(refused(f"{tree}/{tail}", tree))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a",
        "./a",
        "../a",
        "~",
        "~/a",
        "file:///a",
        "C:\\a",
        "\\\\host\\share",
        None,
        5,
        b"/tmp",
        ["/tmp"],
    ],
    ids=repr,
)
def test_a12_relative_paths_and_other_types_are_refused(tree: Path, path: Any) -> None:
    """Only absolute text is a path."""
    refused(path, tree, "/")


@pytest.mark.parametrize(
    "path",
    ["/proc/self/root/etc/passwd", "/proc/self/cwd/x", "/proc/self/exe", "/proc/self", "/dev/null"],
)
def test_a12_magic_links_and_devices_are_refused(path: str) -> None:
    """``/proc/self`` is a link; below a process there are links that look like directories."""
    refused(path, "/")
    refused(path.replace("self", str(os.getpid())) if "self/" in path else path, "/")


def test_a12_sockets_are_refused(tree: Path) -> None:
    """A socket is neither a file nor a directory."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tree / "s"))

        refused(str(tree / "s"), tree)


def test_a12_roots_are_compared_by_component_and_case(tree: Path) -> None:
    """A neighbour with the same beginning, or another case, is outside."""
    (tree.parent / "work2").mkdir()
    (tree.parent / "Work").mkdir()

    for outside in ("work2", "work2/x", "Work", "Work/x", "WORK", "secret/key", "wor", ""):
        refused(str(tree.parent / outside), tree)
    assert check_path(str(tree.parent / "work2"), roots=[str(tree), str(tree.parent / "work2")])
    assert check_path(str(tree.parent / "work2"), roots=["/"])
    refused(str(tree), *[])


def test_a12_a_root_may_be_a_file(tree: Path) -> None:
    """A single file as a root covers itself alone."""
    root = str(tree / "a" / "file")

    assert check_path(root, roots=[root]) == root
    refused(root + "/x", root)


def test_a12_outside_paths_are_not_looked_at(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether something exists outside the roots cannot be found out by asking."""
    monkeypatch.setattr(paths, "open_without_links", None)

    there = refused(str(tree.parent / "secret" / "key"), tree)
    not_there = refused(str(tree.parent / "secret" / "nothing"), tree)

    assert str(there) == str(not_there)


@pytest.mark.parametrize("root", ["work", "/a/", "/a/../b", "/a//b", "", "/a%2f"])
def test_a12_badly_spelled_roots_are_misuse(root: str) -> None:
    """A root comes from the configuration; a bad one is an error there, not a refusal here."""
    with pytest.raises(ValueError, match="root"):
        check_path("/a/b", roots=[root])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look at everything")
def test_a12_what_cannot_be_looked_at_is_refused(tree: Path) -> None:
    """A directory without search permission hides links; nothing below it passes."""
    (tree / "a").chmod(0)
    try:
        refused(str(tree / "a" / "file"), tree)
    finally:
        (tree / "a").chmod(0o700)


def test_a12_failing_system_calls_are_refusals(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the file system answers but "not found" is a refusal."""
    real = os.open

    def failing(path: str, flags: int, *, dir_fd: int | None = None) -> int:
        if path == "file":
            raise PermissionError(13, "no")
        return real(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr(paths.os, "open", failing)

    refused(str(tree / "a" / "file"), tree)


def test_a12_no_descriptor_leaks(tree: Path) -> None:
    """Accepted or refused, every handle is closed."""
    before = len(os.listdir("/proc/self/fd"))
    for tail in ("/a/file", "/new", "/link/x", "/a/file/x", "/pipe", "/loop", "/../x"):
        for _ in range(20):
            try:
                check_path(f"{tree}{tail}", roots=[str(tree)])
            except ShapeError:
                continue

    assert len(os.listdir("/proc/self/fd")) == before


def test_a12_accepted_paths_are_their_own_real_path(tree: Path) -> None:
    """Differential: 20,000 made-up paths; where ``realpath`` disagrees, we refuse."""
    rng = random.Random(7)
    names = [
        "a",
        "b",
        "file",
        "link",
        "out",
        "up",
        "dangling",
        "loop",
        "new",
        "key",
        "filelink",
        "pipe",
    ]
    odd = ["..", ".", "", "%2e%2e", "A", "a ", "…", "a\\b", "..."]
    counts = {True: 0, False: 0}
    for _ in range(20_000):
        parts = [
            rng.choice(odd if rng.random() < 0.15 else names) for _ in range(rng.randint(1, 5))
        ]
        path = f"{tree}/" + "/".join(parts)
        try:
            accepted = check_path(path, roots=[str(tree)])
        except ShapeError:
            counts[False] += 1
            continue
        counts[True] += 1
        assert accepted == path == os.path.realpath(path)
        assert path.startswith(f"{tree}/")

    assert min(counts.values()) > 500


def test_a12_negative_control(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the walk a linked directory leads out of the root."""
    monkeypatch.setattr(paths, "_WALK_FLAGS", os.O_PATH | os.O_CLOEXEC)
    path = f"{tree}/out/key"

    assert check_path(path, roots=[str(tree)]) == path
    assert not os.path.realpath(path).startswith(f"{tree}/")


def test_a12_spelling_negative_control(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the spelling rule ``..`` passes the comparison with the root and leads out of it."""
    monkeypatch.setattr(paths, "check_spelling", lambda path: path[1:].split("/"))
    path = f"{tree}/../secret/key"

    assert check_path(path, roots=[str(tree)]) == path
    assert os.path.realpath(path) == str(tree.parent / "secret" / "key")
