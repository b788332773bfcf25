# SPDX-License-Identifier: Apache-2.0
"""The one thread in which the store works.

Law: what is asked of the store is done in the order in which it was asked, one after the other, and
the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sidecar.errors import EnvironmentFailure

__all__ = ["Worker"]

_T = TypeVar("_T")


class Worker:
    """Runs blocking work in one thread."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="approvals")

    async def run(self, work: Callable[[], _T]) -> _T:
        """Return what *work* returns; raises what it raises.

        Raises:
            EnvironmentFailure: The worker has been closed.
        """
        try:
            future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        except RuntimeError as exc:
            raise EnvironmentFailure("the approvals are closed") from exc
        return await future

    def close(self) -> None:
        """Take nothing more; what was taken is done."""
        self._executor.shutdown(wait=True)
