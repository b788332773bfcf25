# SPDX-License-Identifier: Apache-2.0
"""Where everything lies under one state directory. One host, one control, one layout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sidecar.model import AgentId

__all__ = ["StateLayout", "default_state_dir"]


def default_state_dir() -> Path:
    """Return ``$HOLDFAST_STATE_DIR``, else the system's place for root and the user's for others."""
    named = os.environ.get("HOLDFAST_STATE_DIR")
    if named:
        return Path(named)
    if os.geteuid() == 0:
        return Path("/var/lib/holdfast")
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "holdfast"


@dataclass(frozen=True, slots=True)
class StateLayout:
    """Paths under *root*; *runtime* holds the sockets and may lie elsewhere (``/run/holdfast``)."""

    root: Path
    runtime: Path

    @classmethod
    def of(cls, root: Path, runtime: Path | None = None) -> StateLayout:
        """Return the layout of *root*, with the sockets below it unless *runtime* says otherwise."""
        return cls(root, runtime if runtime is not None else root / "run")

    @property
    def latch(self) -> Path:
        """Directory of the latch; written by control, mapped by gates."""
        return self.root / "latch"

    @property
    def control(self) -> Path:
        """Control's own directory: database, keys, log."""
        return self.root / "control"

    @property
    def database(self) -> Path:
        """History of directives, and the revocations."""
        return self.control / "control.db"

    @property
    def api_tokens(self) -> Path:
        """API tokens, without their secrets."""
        return self.control / "api_tokens.db"

    @property
    def control_audit(self) -> Path:
        """Control's transparency log."""
        return self.control / "audit"

    @property
    def signing_key(self) -> Path:
        """Control's Ed25519 key for receipts and checkpoints."""
        return self.control / "signing.key"

    @property
    def policy_archive(self) -> Path:
        """Control's own copy of the bundle in force."""
        return self.control / "policy"

    @property
    def pki(self) -> Path:
        """Development certificates."""
        return self.control / "dev-pki"

    def gate(self, gate: str) -> Path:
        """A gate's own directory."""
        return self.root / "gates" / gate

    def gate_audit(self, gate: str) -> Path:
        """A gate's transparency log."""
        return self.gate(gate) / "audit"

    def gate_key(self, gate: str) -> Path:
        """A gate's Ed25519 key for its checkpoints."""
        return self.gate(gate) / "signing.key"

    @property
    def local_socket(self) -> Path:
        """Control's root-only socket."""
        return self.runtime / "control" / "local.sock"

    @property
    def internal_socket(self) -> Path:
        """Where gates meet control."""
        return self.runtime / "internal" / "sync.sock"

    @property
    def agents(self) -> Path:
        """Directory of the agents' sockets."""
        return self.runtime / "agents"

    def agent_socket(self, agent: AgentId | str) -> Path:
        """One agent's socket."""
        return self.agents / agent / "guard.sock"

    @property
    def logs(self) -> Path:
        """What supervised processes print."""
        return self.root / "log"
