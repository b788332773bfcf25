# SPDX-License-Identifier: Apache-2.0
"""A host under test with everything around it: a CA, operators, an identity provider, agents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sidecar.audit.verify import VerifyReport, verify_directory
from sidecar.clock import SystemClock
from tests.support.bundles import (
    AGENTS,
    OTHER_ISSUER,
    IdentityProvider,
    agent_names,
    spiffe,
    write_bundle,
)
from tests.support.certificates import Authority, Credential
from tests.support.clients import AgentClient, ControlClient
from tests.support.processes import Deployment, Zygote, short_directory

__all__ = ["Testbed"]


class Testbed(Deployment):
    """One control, one gate, and whoever has dealings with them."""

    __test__ = False

    def __init__(
        self, zygote: Zygote, authority: Authority, *, spare_agents: int = 0, **settings: Any
    ) -> None:
        root = short_directory()
        self.idp = IdentityProvider()
        self.other_idp = IdentityProvider(OTHER_ISSUER, "other-1")
        self.authority = authority
        self.spare = agent_names(spare_agents)
        self._next_spare = iter(self.spare)
        self._credentials: dict[str, Credential] = {}
        super().__init__(zygote, bundle=root / "bundle", root=root, **settings)
        self._is_own_root = True
        self.write_bundle()
        server = authority.server().write(root, "server")
        (root / "ca.pem").write_bytes(authority.pem)
        self._tls = {
            "tls_certificate": str(server[0]),
            "tls_key": str(server[1]),
            "client_ca": str(root / "ca.pem"),
        }

    def write_bundle(self, **changes: Any) -> Path:
        """Write the bundle anew, with *changes* (see ``bundles.write_bundle``)."""
        return write_bundle(
            self.bundle,
            idp=self.idp,
            other=self.other_idp,
            spare_agents=len(self.spare),
            **changes,
        )

    def launch_control(
        self, *, breakages: Iterable[str] = (), is_dev: bool = False, **settings: Any
    ) -> Any:
        tls = {} if is_dev else self._tls
        return super().launch_control(breakages=breakages, is_dev=is_dev, **{**tls, **settings})

    def begin(
        self,
        agents: Sequence[str] | None = None,
        *,
        control_breakages: Iterable[str] = (),
        gate_breakages: Iterable[str] = (),
    ) -> Testbed:
        """Start control and a gate for *agents* (default: all) and wait until both serve."""
        agents = list((*AGENTS, *self.spare) if agents is None else agents)
        self.launch_control(breakages=control_breakages)
        self.launch_gate(agents, breakages=gate_breakages)
        self.wait_control()
        for agent in agents[:1]:
            self.wait_gate(agent)
        return self

    def restart_control(self, **options: Any) -> None:
        """Start control again and wait until it serves."""
        self.launch_control(**options)
        self.wait_control()

    def crash(self) -> None:
        """End control and every gate as a power cut would."""
        for process in (self.control, *self.gates.values()):
            if process is not None:
                process.kill()

    # -- who calls ----------------------------------------------------------------------------

    def credential(self, operator: str) -> Credential:
        """Return the certificate of an operator of the bundle."""
        if operator not in self._credentials:
            self._credentials[operator] = self.authority.issue(uris=[spiffe(operator)])
        return self._credentials[operator]

    def operator(self, name: str) -> ControlClient:
        """Return a client that calls as operator *name*."""
        return self.caller(self.credential(name))

    def caller(self, credential: Credential | None) -> ControlClient:
        """Return a client with any certificate, or none."""
        return ControlClient(
            self.listen, ca=self.authority.pem, credential=credential, colleague=self.operator
        )

    def holder(self, secret: str, *, certificate_of: str = "") -> ControlClient:
        """Return a client that calls with an API token, to the listener where such are taken.

        Args:
            secret: The token's.
            certificate_of: Show this operator's certificate too, where certificates are taken.
        """
        credential = self.credential(certificate_of) if certificate_of else None
        return ControlClient(
            self.listen if credential else str(self.settings["token_listen"]),
            ca=self.authority.pem,
            credential=credential,
            token=secret,
            colleague=self.operator,
        )

    def local(self) -> ControlClient:
        """Return a client of the local socket."""
        return ControlClient(self.local_address, colleague=self.operator)

    def agent(self, name: str = "alpha") -> AgentClient:
        """Return a client of one agent's socket."""
        return AgentClient(self.agent_address(name))

    def fresh_agent(self) -> str:
        """Return an agent that no other test uses."""
        return next(self._next_spare)

    # -- what is left behind ------------------------------------------------------------------

    def verify_control_log(self) -> VerifyReport:
        """Verify control's log offline."""
        return _verify(self.layout.control_audit)

    def verify_gate_log(self, gate_id: str = "gate") -> VerifyReport:
        """Verify a gate's log offline."""
        return _verify(self.layout.gate_audit(gate_id))

    @property
    def now_boot_ns(self) -> int:
        """The boot clock, which every process of the host shares."""
        return SystemClock().boot_ns()


def _verify(directory: Path) -> VerifyReport:
    vkey = (directory.parent / "audit.vkey").read_text()
    return verify_directory(directory, vkey=vkey)
