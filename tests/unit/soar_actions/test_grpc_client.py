# SPDX-License-Identifier: Apache-2.0
"""The gRPC client of the command line: the same answers and errors as over JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from sidecar.api.v1 import agent_pb2, agent_pb2_grpc
from soar_actions.client.connection import Connection
from soar_actions.client.grpc_transport import GrpcTransport
from soar_actions.run import ACTIONS, HANDLERS, run_action
from tests.support.certificates import Authority

CANARY = "hfat_canary000001_s3cr3t"


class Agents(agent_pb2_grpc.AgentServiceServicer):
    """Answers as it is told."""

    def __init__(self, failures: int = 0, error: dict[str, Any] | None = None) -> None:
        self.failures = failures
        self.error = error
        self.metadata: list[dict[str, str]] = []

    def GetAgent(self, request: Any, context: Any) -> agent_pb2.GetAgentResponse:
        self.metadata.append(dict(context.invocation_metadata()))
        if request.agent == "slow":
            time.sleep(0.4)
        if self.failures:
            self.failures -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
        if self.error is not None:
            info = error_details_pb2.ErrorInfo(reason="NOT_FOUND", domain="holdfast")
            info.metadata["hint"] = "look again"
            packed = any_pb2.Any()
            packed.Pack(info)
            status = status_pb2.Status(
                code=code_pb2.NOT_FOUND, message="no agent", details=[packed]
            )
            context.set_trailing_metadata(
                (("grpc-status-details-bin", status.SerializeToString()),)
            )
            context.abort(grpc.StatusCode.NOT_FOUND, "no agent")
        agent = agent_pb2.Agent(agent=request.agent, decision_counts={"ALLOW": 2**53 + 1})
        return agent_pb2.GetAgentResponse(agent=agent)


@contextmanager
def serving(authority: Authority, agents: Agents, *, wants_client: bool = False) -> Iterator[int]:
    """Serve *agents* over TLS."""
    pool = ThreadPoolExecutor(2)
    server = grpc.server(pool)
    agent_pb2_grpc.add_AgentServiceServicer_to_server(agents, server)
    credential = authority.server()
    port = server.add_secure_port(
        "127.0.0.1:0",
        grpc.ssl_server_credentials(
            [(credential.key_pem, credential.chain)],
            root_certificates=authority.pem if wants_client else None,
            require_client_auth=wants_client,
        ),
    )
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait(5)
        pool.shutdown()


def ask(port: int, *, agent: str = "banking", total_s: float = 5, **asset: str) -> dict[str, Any]:
    """Run ``get agent`` over gRPC."""
    connection = Connection.from_asset(
        {
            "endpoint": f"https://127.0.0.1:{port}",
            "timeout_seconds": "1",
            **asset,
        }
    )
    with GrpcTransport(connection, total_s=total_s) as transport:
        result = run_action(
            ACTIONS["get-agent"],
            HANDLERS["get-agent"],
            transport=transport,
            parameters={"agent": agent},
            key="",
        )
    assert CANARY not in str(result)
    return result


@pytest.fixture(scope="module")
def authority() -> Authority:
    """The CA of control's certificate."""
    return Authority()


def test_a_token_goes_with_the_call(authority: Authority) -> None:
    """In metadata; whole numbers stay whole."""
    agents = Agents()

    with serving(authority, agents) as port:
        result = ask(port, api_token=CANARY, ca_certificate=authority.pem.decode())

    assert result["status"] == "SUCCESS"
    assert result["agent"]["decision_counts"] == {"ALLOW": 2**53 + 1}
    assert agents.metadata[0]["authorization"] == f"Bearer {CANARY}"


def test_a_certificate_is_enough(authority: Authority) -> None:
    """Mutual TLS, and no token."""
    agents = Agents()
    leaf = authority.issue(uris=["spiffe://holdfast/operator/soar"])

    with serving(authority, agents, wants_client=True) as port:
        result = ask(
            port,
            ca_certificate=authority.pem.decode(),
            client_certificate=leaf.chain.decode(),
            client_key=leaf.key_pem.decode(),
        )

    assert result["status"] == "SUCCESS"
    assert "authorization" not in agents.metadata[0]


def test_errors_are_those_of_json(authority: Authority) -> None:
    """Class, reason and what to do."""
    with serving(authority, Agents(error={})) as port:
        result = ask(port, api_token=CANARY, ca_certificate=authority.pem.decode())

    assert result["error"] == {
        "class": "NOT_FOUND",
        "reason": "NOT_FOUND",
        "remedy": "look again",
        "retryable": False,
    }


def test_i04_unavailable_is_tried_again(authority: Authority) -> None:
    """A few times, and then it is said how often."""
    ca = authority.pem.decode()

    with serving(authority, Agents(failures=2)) as port:
        good = ask(port, api_token=CANARY, ca_certificate=ca)
    with serving(authority, Agents(failures=9)) as port:
        bad = ask(port, api_token=CANARY, ca_certificate=ca)

    assert good["status"] == "SUCCESS"
    assert bad["error"]["retryable"]
    assert "4 attempts in" in bad["summary"]


def test_i04_a_slow_control_ends_at_the_deadline(authority: Authority) -> None:
    """The action's whole time, whatever an attempt may take."""
    with serving(authority, Agents()) as port:
        result = ask(
            port,
            agent="slow",
            total_s=0.2,
            api_token=CANARY,
            ca_certificate=authority.pem.decode(),
        )

    assert result["error"]["reason"] == "DEADLINE"


def test_i05_another_ca_is_not_trusted(authority: Authority) -> None:
    """Nothing is sent, and it is said why."""
    agents = Agents()

    with serving(authority, agents) as port:
        result = ask(port, api_token=CANARY, ca_certificate=Authority().pem.decode())

    assert result["error"]["reason"] == "SERVER_NOT_TRUSTED"
    assert not agents.metadata
