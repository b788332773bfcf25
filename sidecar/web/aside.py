# SPDX-License-Identifier: Apache-2.0
"""Work beside the loop: laying out and drawing what an agent wrote.

Laws: the console shares control's event loop, and nothing that an agent can make long may hold it
up: a kill goes through that loop. What runs here is pure, takes frozen values and touches nothing; one
thread does it, so that many pages wait for each other and not control for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sidecar.errors import EnvironmentFailure

__all__ = ["Aside"]

_T = TypeVar("_T")


class Aside:
    """One thread for pages."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="console")

    async def run(self, work: Callable[[], _T]) -> _T:
        """Return what *work* returns; raises what it raises.

        Raises:
            EnvironmentFailure: The console is being closed.
        """
        try:
            future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        except RuntimeError as exc:
            raise EnvironmentFailure("the console is being closed") from exc
        return await future

    def close(self) -> None:
        """End the thread once it is done."""
        self._executor.shutdown(wait=False, cancel_futures=True)
