# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the system tests. Nothing is imported before a test asks for it: unit tests need none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.certificates import Authority
    from tests.support.processes import Zygote
    from tests.support.testbed import Testbed


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """The process that forks every control and gate."""
    from tests.support.processes import Zygote

    process = Zygote()
    yield process
    process.close()


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The CA that control trusts."""
    from tests.support.certificates import Authority

    return Authority()


@pytest.fixture(scope="module")
def bed(zygote: Zygote, authority: Authority) -> Iterator[Testbed]:
    """A running host that the tests of a module share; each takes agents of its own.

    Nobody may stop its processes or leave a directive on what is not his own.
    """
    from tests.support.testbed import Testbed

    host = Testbed(zygote, authority, spare_agents=100)
    try:
        yield host.begin()
    finally:
        host.close()


@pytest.fixture
def make_bed(zygote: Zygote, authority: Authority) -> Iterator[Callable[..., Testbed]]:
    """Make hosts that are this test's alone; they are not started yet."""
    from tests.support.testbed import Testbed

    hosts: list[Testbed] = []

    def make(**options: Any) -> Testbed:
        host = Testbed(zygote, authority, **options)
        hosts.append(host)
        return host

    yield make
    for host in hosts:
        host.close()
