# SPDX-License-Identifier: Apache-2.0
"""What a fork does to a guard.

gRPC's threads do not exist in a forked child. A channel that is used there never answers, and one
that is merely freed waits for ever for a thread that is gone (both measured, grpcio 1.85). Laws:

1. A child never uses, closes or frees anything its parent had connected: it is buried here, alive.
2. In a child of a process that had connected, every guard denies by itself (``FORKED``).
3. In a child of a process that had not connected yet, guards connect as if nothing had happened.

One thing is beyond these laws: unless ``GRPC_ENABLE_FORK_SUPPORT=0`` stands in the environment when
the process starts, gRPC's own fork handlers may crash the child of a process that had connected (one
in five, measured), whether or not it uses a guard. The SDK does not set it: the environment is the
agent's, and another user of gRPC in the process may need the handlers.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["Buried", "is_cut_off", "note_connected", "watch_over"]


class Buried(Protocol):
    """Something that holds what must not be touched in a child."""

    def bury(self) -> object:
        """Give up, without touching it, whatever belongs to the parent."""


class _State:
    def __init__(self) -> None:
        self.is_registered = False
        self.has_connected = False
        self.is_cut_off = False
        self.watched: weakref.WeakSet[Buried] = weakref.WeakSet()
        self.graveyard: list[object] = []


_state = _State()


def is_cut_off() -> bool:
    """Return whether this process is a child of one that had connected."""
    return _state.is_cut_off


def note_connected() -> None:
    """Remember that from now on a child can't use gRPC."""
    _state.has_connected = True


def watch_over(holder: Buried) -> None:
    """Let *holder* bury its connection in every child that is forked from now on."""
    if not _state.is_registered:
        # Not at import: importing the SDK must not change the process.
        _state.is_registered = True
        os.register_at_fork(after_in_child=_after_in_child)
    _state.watched.add(holder)


def _after_in_child() -> None:
    if _state.has_connected:
        _state.is_cut_off = True
    for holder in list(_state.watched):
        _state.graveyard.append(holder.bury())
