# SPDX-License-Identifier: Apache-2.0
"""``holdfast accounts`` against the real servicer and store, over gRPC, behind the real interceptor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.api.v1 import account_pb2, account_pb2_grpc
from sidecar.cli.exits import Exit
from sidecar.clock import ManualClock
from sidecar.control.accounts import AccountServicer
from sidecar.control.admission import Admission, methods_of
from sidecar.control.identity import LOCAL_OPERATOR
from sidecar.control.interceptor import AuthorizationInterceptor
from sidecar.control.server import bind_unix
from sidecar.layout import StateLayout
from sidecar.model import Operator, Role
from tests.support.authenticator import Authenticator
from tests.support.passkeys import ORIGIN, PasskeyDesk
from tests.unit.cli import cli_server

Run = Callable[..., Any]


@dataclass
class AccountHost:
    """A control that serves accounts alone; ``caller`` is whoever calls it."""

    desk: PasskeyDesk
    thread: Any
    caller: Operator = LOCAL_OPERATOR

    def operator(self, _: Any) -> Operator:
        """Return who calls."""
        return self.caller

    def enrol(self, name: str) -> str:
        """Give *name* a passkey; return its credential."""
        self.thread.run(self.desk.enrol(name, Authenticator()))
        (passkey,) = self.desk.store.of_human(name)
        return passkey.credential_id

    async def refused(
        self, method: str, operator: Operator | None, error: Exception, omitted: int
    ) -> None:
        """Record a refusal."""
        await self.desk.log.append("refused", {"event": "refused", "method": method})

    async def serve(self, path: Path) -> None:
        """Serve on the socket *path*, as control does."""
        services = account_pb2.DESCRIPTOR.services_by_name
        admission = Admission(
            methods=methods_of(services["AccountService"]),
            refused=self.refused,
            clock=ManualClock(),
        )
        interceptor = AuthorizationInterceptor(identity=self, admission=admission)
        servicer = AccountServicer(accounts=self.desk.accounts)
        server = await bind_unix(
            path,
            [interceptor],
            lambda made: account_pb2_grpc.add_AccountServiceServicer_to_server(servicer, made),
            options=(),
            mode=0o600,
        )
        self.thread._servers.append(server)


@pytest.fixture
def accounts(
    short_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AccountHost]:
    """A control where the commands look for it."""
    layout = StateLayout.of(short_dir / "s", short_dir / "r")
    layout.local_socket.parent.mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(layout.root))
    monkeypatch.setenv("HOLDFAST_RUNTIME_DIR", str(layout.runtime))
    thread = cli_server.ServerThread()
    host = AccountHost(PasskeyDesk(tmp_path / "passkeys.db", ManualClock()), thread)
    thread.run(host.serve(layout.local_socket))
    yield host
    thread.stop()
    host.desk.store.close()


def test_a_link_is_printed_alone(accounts: AccountHost, holdfast: Run) -> None:
    """The address on stdout, what to do with it on stderr; the log says who gave it to whom."""
    outcome = holdfast("accounts", "enrol", "alice")

    url = outcome.out.strip()
    assert outcome.code == Exit.OK
    assert url.startswith(f"{ORIGIN}/enrol/")
    assert "alice alone" in outcome.err
    assert url not in outcome.err
    (entry,) = accounts.desk.log.entries
    assert entry[1]["author"] == "local"
    assert entry[1]["operator"] == "alice"
    assert url.rpartition("/")[2] not in str(entry)


def test_a_retry_names_the_same_order(accounts: AccountHost, holdfast: Run) -> None:
    """The JSON names the request, so that a script can repeat it; another operator conflicts."""
    first = holdfast("accounts", "enrol", "alice", "--request-id", "retry-0001", "--json").json()
    second = holdfast("accounts", "enrol", "alice", "--request-id", "retry-0001", "--json").json()
    other = holdfast("accounts", "enrol", "bob", "--request-id", "retry-0001")

    assert first["kind"] == "EnrolmentLink"
    assert first["request_id"] == second["request_id"] == "retry-0001"
    assert first["url"] != second["url"]
    assert other.code != Exit.OK


@pytest.mark.parametrize("name", ["mallory", "robot", ""])
def test_a_link_is_for_a_human_in_force(accounts: AccountHost, holdfast: Run, name: str) -> None:
    """Nobody else gets one, and the answer says what to do."""
    outcome = holdfast("accounts", "enrol", name)

    assert outcome.code != Exit.OK
    assert outcome.out == ""
    assert "operators.yaml" in outcome.err or "human" in outcome.err


def test_passkeys_are_listed(accounts: AccountHost, holdfast: Run) -> None:
    """Who has which, who gave out the link, and whether its owner has confirmed it."""
    assert "nobody has a passkey" in holdfast("accounts", "list").out
    alices, bobs = accounts.enrol("alice"), accounts.enrol("bob")

    everybody = holdfast("accounts", "list", "--json").json()
    bob = holdfast("accounts", "list", "bob", "--json").json()
    text = holdfast("accounts", "list")
    page = holdfast("accounts", "list", "--limit", "1", "--json").json()

    assert {row["credential"] for row in everybody["passkeys"]} == {alices, bobs}
    (row,) = bob["passkeys"]
    assert (row["operator"], row["author"], row["confirmed"]) == ("bob", "carol", False)
    assert row["use_time"] is None
    assert len(row["public_key_sha256"]) == 64
    assert alices[:16] in text.out
    assert page["next_page_token"] == "1"


def test_a_passkey_is_removed(accounts: AccountHost, holdfast: Run) -> None:
    """By the beginning of its id; a retry says that it was gone; the other one stays."""
    credential, other = accounts.enrol("alice"), accounts.enrol("bob")
    short = holdfast("accounts", "remove", "alice", "--credential", "abc", "--yes")
    wrong = holdfast("accounts", "remove", "bob", "--credential", credential, "--yes")

    first = holdfast(
        "accounts", "remove", "alice", "--credential", credential[:12], "--yes", "--json"
    ).json()
    second = holdfast(
        "accounts", "remove", "alice", "--credential", credential, "--yes", "--json"
    ).json()

    assert short.code == Exit.USAGE
    assert wrong.code not in (Exit.OK, Exit.USAGE)
    assert (first["repeated_request"], second["repeated_request"]) == (False, True)
    assert first["passkey"]["credential"] == credential
    assert [item.credential_id for item in accounts.desk.store.all()] == [other]
    assert accounts.desk.log.events().count("passkey_removed") == 1


def test_removing_asks_first(accounts: AccountHost, holdfast: Run) -> None:
    """Nobody there to ask: nothing is done."""
    credential = accounts.enrol("alice")

    outcome = holdfast("accounts", "remove", "alice", "--credential", credential)

    assert outcome.code == Exit.USAGE
    assert len(accounts.desk.store.all()) == 1


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
def test_d21_only_an_administrator_gives_out_links(
    accounts: AccountHost, holdfast: Run, role: Role
) -> None:
    """No other role gives out a link or removes a passkey; an auditor may look."""
    credential = accounts.enrol("alice")
    accounts.caller = replace(LOCAL_OPERATOR, roles=frozenset({role}))
    before = list(accounts.desk.store.all())

    outcomes = {
        "enrol": holdfast("accounts", "enrol", "alice").code,
        "remove": holdfast("accounts", "remove", "alice", "--credential", credential, "--yes").code,
        "list": holdfast("accounts", "list").code,
    }

    may_look = role is Role.AUDIT_READ
    assert outcomes == {
        "enrol": Exit.DENIED,
        "remove": Exit.DENIED,
        "list": Exit.OK if may_look else Exit.DENIED,
    }
    assert list(accounts.desk.store.all()) == before
