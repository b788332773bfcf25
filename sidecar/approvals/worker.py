# SPDX-License-Identifier: Apache-2.0
"""The one thread in which the store works.

Laws:

1. What is asked of the store is done in the order in which it was asked, one after the other, and the
   event loop never waits for a disk.
2. Nobody waits for ever: a disk that does not answer in time is a disk that fails. What it does
   afterwards is as unknown as after any other failure.
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
    """Runs blocking work in one thread.

    Args:
        timeout_s: How long one piece of work may take, with what waits before it.
    """

    def __init__(self, *, timeout_s: float = 10.0) -> None:
        self._timeout_s = timeout_s
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="approvals")

    async def run(self, work: Callable[[], _T]) -> _T:
        """Return what *work* returns; raises what it raises.

        Raises:
            EnvironmentFailure: The worker has been closed, or the work takes too long.
        """
        try:
            future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        except RuntimeError as exc:
            raise EnvironmentFailure("the approvals are closed") from exc
        try:
            async with asyncio.timeout(self._timeout_s):
                return await future
        except TimeoutError as exc:
            raise EnvironmentFailure(
                f"the store of approvals did not answer in {self._timeout_s:g} s",
                hint="see the disk that control's state lies on",
            ) from exc

    async def close(self) -> None:
        """Take nothing more, and wait for what was taken, though not for ever."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.to_thread(self._executor.shutdown)
        except TimeoutError:
            return  # law 2
