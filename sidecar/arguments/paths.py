# SPDX-License-Identifier: Apache-2.0
"""Which file an argument names: exactly the one it spells, or it is refused.

Laws:

1. *One spelling.* Absolute, no empty, ``.`` or ``..`` component, no trailing slash, no backslash,
   no percent escape (somebody below may decode it, once or twice), no control character.
2. *No detours.* The existing part is walked component by component with ``O_NOFOLLOW``: a symbolic
   link anywhere, also a magic one such as ``/proc/<pid>/root``, is a refusal. So an accepted path
   is its own real path.
3. *What cannot be looked at is refused*: no permission, no directory, a device, a socket.
4. The part that does not exist yet is only spelling; it lies below a real directory.
5. A path is compared with its roots component by component, in exact case, before anything outside
   them is looked at; the walk then shows that the spelling tells the truth.

Between the check and the use, somebody with write access to the directories can still put a link in
the way. Only a tool that itself opens the file by ``openat2`` with ``RESOLVE_BENEATH`` and
``RESOLVE_NO_SYMLINKS`` is safe from that.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from typing import Final

from sidecar.model import ReasonCode
from sidecar.shape import ShapeError

__all__ = ["MAX_PATH_BYTES", "check_path", "check_spelling", "open_without_links"]

MAX_PATH_BYTES: Final = 4095
_MAX_COMPONENT_BYTES: Final = 255
_CONTROL: Final = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]").search
_ESCAPE: Final = re.compile("%[0-9A-Fa-f]{2}").search
_WALK_FLAGS: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def check_path(path: str, *, roots: Sequence[str]) -> str:
    """Return *path* if it names, by the shortest way, something at or below one of *roots*.

    Args:
        path: The argument, exactly as the tool will use it.
        roots: Absolute real directories (or single files) that the tool may touch.

    Raises:
        ShapeError: SCHEMA.
        ValueError: If a root is not spelled as a path must be.
    """
    for root in roots:
        _check_root(root)
    components = check_spelling(path)
    if not any(_is_below(components, root) for root in roots):
        raise _refused("the path is not below a directory that the tool may touch")
    descriptor, is_whole = open_without_links(components)
    try:
        if is_whole:
            mode = os.fstat(descriptor).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise _refused("the path names neither a file nor a directory")
    finally:
        os.close(descriptor)
    return path


def check_spelling(path: str) -> list[str]:
    """Return the components of *path*, if law 1 allows it; raises ``ShapeError``."""
    if type(path) is not str or not path.startswith("/"):
        raise _refused("the path is not absolute")
    if _CONTROL(path):
        raise _refused("the path holds a control character or a lone surrogate")
    if "\\" in path or _ESCAPE(path):
        raise _refused("the path holds a backslash or a percent escape")
    if len(path.encode()) > MAX_PATH_BYTES:
        raise _refused(f"the path is longer than {MAX_PATH_BYTES} bytes")
    components = path[1:].split("/")
    for component in components:
        if component in ("", ".", ".."):
            raise _refused("the path has an empty, . or .. component, or ends in a slash")
        if len(component.encode()) > _MAX_COMPONENT_BYTES:
            raise _refused(f"a component is longer than {_MAX_COMPONENT_BYTES} bytes")
    return components


def open_without_links(components: Sequence[str]) -> tuple[int, bool]:
    """Walk *components* down from ``/`` and return a handle of the last one that exists.

    Returns:
        An ``O_PATH`` descriptor (the caller closes it), and whether it is the whole path.

    Raises:
        ShapeError: SCHEMA, if a component is a link, cannot be entered or cannot be looked at.
    """
    descriptor = os.open("/", _WALK_FLAGS | os.O_DIRECTORY)
    try:
        for component in components:
            try:
                below = os.open(component, _WALK_FLAGS, dir_fd=descriptor)
            except FileNotFoundError:
                return descriptor, False
            os.close(descriptor)
            descriptor = below
            if stat.S_ISLNK(os.fstat(descriptor).st_mode):
                raise _refused("the path leads over a symbolic link")
    except OSError:
        os.close(descriptor)
        raise _refused("a component of the path cannot be looked at") from None
    except ShapeError:
        os.close(descriptor)
        raise
    return descriptor, True


def _is_below(components: Sequence[str], root: str) -> bool:
    above = [part for part in root.split("/") if part]
    return list(components[: len(above)]) == above


def _check_root(root: str) -> None:
    if root == "/":
        return
    try:
        check_spelling(root)
    except ShapeError as exc:
        raise ValueError(f"a root must be spelled like a path: {exc}") from exc


def _refused(message: str) -> ShapeError:
    return ShapeError(message, code=ReasonCode.SCHEMA, hint="use the real, absolute path")
