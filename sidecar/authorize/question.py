# SPDX-License-Identifier: Apache-2.0
"""What a gate is asked, exactly as it arrived: nothing here has been believed yet."""

from __future__ import annotations

from typing import NamedTuple

from sidecar.model import AgentId

__all__ = ["Question"]


class Question(NamedTuple):
    """One unparsed tool call. ``agent`` comes from the socket, everything else from the caller.

    A named tuple because one is made per call on the hot path. ``token`` is a secret: it is never
    part of a record, a fingerprint, an error or a ``repr``.
    """

    agent: AgentId
    tool: str
    arguments: bytes
    session: str = ""
    url: str = ""
    cwd: str = ""
    environment_digest: str = ""
    nonce: str = ""
    token: str = ""

    def __repr__(self) -> str:
        return f"Question(agent={self.agent!r}, tool={self.tool[:128]!r})"
