# SPDX-License-Identifier: Apache-2.0
"""``holdfast api-tokens``, and calling with a token, against the real service over gRPC."""

from __future__ import annotations

import io
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from sidecar.api.v1 import api_token_pb2, api_token_pb2_grpc
from sidecar.cli import api_tokens
from sidecar.cli.exits import Exit
from sidecar.clock import SystemClock
from sidecar.control.admission import Admission, methods_of
from sidecar.control.api_tokens import ApiTokenServicer
from sidecar.control.identity import Identities, LocalIdentity, TokenIdentity
from sidecar.control.interceptor import AuthorizationInterceptor
from sidecar.control.pki import InsecureDevelopmentPki
from sidecar.control.server import bind_tls, bind_unix, tls_credentials
from sidecar.errors import EnvironmentFailure, HoldfastError
from sidecar.layout import StateLayout
from sidecar.model import Operator
from tests.support.processes import free_port
from tests.unit.apitokens.conftest import TokenDesk
from tests.unit.cli import cli_server

Run = Callable[..., Any]
_SECRET = re.compile(r"hfat_[a-z2-7]{12}_[A-Za-z0-9_-]{43}")
MAKE = ("api-tokens", "create", "alice", "--permission", "audit-read", "--description", "a drill")


@dataclass
class TokenHost:
    """A control that serves API tokens alone, on its local socket and where tokens are taken."""

    desk: TokenDesk
    layout: StateLayout
    thread: cli_server.ServerThread
    address: str = ""

    def operators(self) -> dict[str, Operator]:
        """Return who is in force."""
        return self.desk.in_force

    async def serve(self) -> None:
        """Serve as control does."""

        async def refused(
            path: str, operator: Operator | None, error: HoldfastError, omitted: int
        ) -> None:
            pass

        await self.desk.open()
        service = api_token_pb2.DESCRIPTOR.services_by_name["ApiTokenService"]
        admission = Admission(methods=methods_of(service), refused=refused, clock=SystemClock())
        servicer = ApiTokenServicer(tokens=self.desk.tokens)

        def register(server: Any) -> None:
            api_token_pb2_grpc.add_ApiTokenServiceServicer_to_server(servicer, server)

        identities = Identities(operators=self, clock=SystemClock(), tokens=self.desk.tokens)
        pki = InsecureDevelopmentPki.ensure(self.layout.pki, [])
        self.address = f"127.0.0.1:{free_port()}"
        self.thread._servers += [
            await bind_unix(
                self.layout.local_socket,
                [AuthorizationInterceptor(identity=LocalIdentity(), admission=admission)],
                register,
                options=(),
                mode=0o600,
            ),
            await bind_tls(
                self.address,
                tls_credentials(
                    certificate=pki.certificate("server"), key=pki.key("server"), client_ca=None
                ),
                [AuthorizationInterceptor(identity=TokenIdentity(identities), admission=admission)],
                register,
            ),
        ]

    def reaching(self) -> tuple[str, ...]:
        """Return the options that reach the listener for tokens."""
        return ("--address", self.address, "--ca", str(self.layout.pki / "ca.pem"))


@pytest.fixture
def tokens(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenHost]:
    """A control where the commands look for it."""
    layout = StateLayout.of(short_dir / "s", short_dir / "r")
    for directory in (layout.control, layout.local_socket.parent):
        directory.mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(layout.root))
    monkeypatch.setenv("HOLDFAST_RUNTIME_DIR", str(layout.runtime))
    # Control would log to the very stdout that the commands print to.
    quiet = structlog.wrap_logger(structlog.PrintLogger(io.StringIO()))
    for module in ("apitokens.service", "control.admission", "control.interceptor"):
        monkeypatch.setattr(f"sidecar.{module}.log", quiet)
    thread = cli_server.ServerThread()
    clock: Any = SystemClock()
    host = TokenHost(TokenDesk(layout.api_tokens, clock), layout, thread)
    thread.run(host.serve())
    yield host
    thread.run(host.desk.tokens.aclose())
    thread.stop()
    host.desk.store.close()


def test_a_secret_is_printed_alone_and_once(tokens: TokenHost, holdfast: Run) -> None:
    """On stdout, so that a script can take it; what it is on stderr; never again by the list."""
    made = holdfast(*MAKE, "--agent", "banking", "--ttl", "30d")
    listed = holdfast("api-tokens", "list", "--json")

    assert made.code == Exit.OK
    assert _SECRET.fullmatch(made.out.strip())
    assert made.out.strip() not in made.err
    assert "not shown again" in made.err
    (row,) = listed.json()["tokens"]
    assert (row["operator"], row["permissions"], row["agents"]) == (
        "alice",
        ["audit-read"],
        ["banking"],
    )
    assert (row["state"], row["author"], row["use_time"]) == ("ACTIVE", "local", None)
    assert made.out.strip().rpartition("_")[2] not in listed.out


def test_json_carries_the_secret_in_a_field(tokens: TokenHost, holdfast: Run) -> None:
    """And nothing else on stdout."""
    made = holdfast(*MAKE, "--json").json()

    assert made["kind"] == "IssuedApiToken"
    assert made["secret"].startswith(f"hfat_{made['token']['name'].removeprefix('apiTokens/')}_")


def test_a_secret_goes_into_a_file_of_ones_own(
    tokens: TokenHost, holdfast: Run, tmp_path: Path
) -> None:
    """Mode 0600, made anew; then it is not printed."""
    file = tmp_path / "soar.token"

    made = holdfast(*MAKE, "--secret-file", str(file), "--json")

    assert _SECRET.fullmatch(file.read_text().strip())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not _SECRET.search(made.out + made.err)
    assert "secret" not in made.json()


def test_a_file_that_is_there_is_not_written_over(
    tokens: TokenHost, holdfast: Run, tmp_path: Path
) -> None:
    """And no token is made whose secret nobody would have."""
    file = tmp_path / "soar.token"
    file.write_text("mine")

    made = holdfast(*MAKE, "--secret-file", str(file))
    nowhere = holdfast(*MAKE, "--secret-file", str(tmp_path / "no" / "where"))

    assert made.code == nowhere.code == Exit.USAGE
    assert file.read_text() == "mine"
    assert holdfast("api-tokens", "list", "--all", "--json").json()["tokens"] == []


def test_a_file_is_taken_away_if_no_token_was_made(
    tokens: TokenHost, holdfast: Run, tmp_path: Path
) -> None:
    """An empty file would look like a secret."""
    file = tmp_path / "soar.token"

    refused = holdfast(
        "api-tokens", "create", "alice", "--permission", "approve", "--description", "x",
        "--secret-file", str(file),
    )  # fmt: skip

    assert refused.code == Exit.USAGE
    assert "audit-read, contain" in refused.err
    assert not file.exists()


def test_a_secret_that_is_lost_says_whose_it_was(tmp_path: Path) -> None:
    """A full disk after the token was made: which one to revoke, and nothing of the secret."""
    file = tmp_path / "soar.token"
    file.touch()
    with file.open("rb") as unwritable, pytest.raises(EnvironmentFailure) as failed:
        api_tokens._write(unwritable.fileno(), "hfat_canary", token="apiTokens/qk3x7m2vhtzd")

    assert "apiTokens/qk3x7m2vhtzd" in failed.value.message
    assert "api-tokens revoke qk3x7m2vhtzd" in failed.value.hint
    assert "canary" not in str(failed.value) + failed.value.hint


def test_a_token_reaches_control_without_a_certificate(
    tokens: TokenHost, holdfast: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a file that an option names, or the environment beside an address."""
    file = tmp_path / "soar.token"
    holdfast(*MAKE, "--secret-file", str(file))
    listing = ("api-tokens", "list", "--json", *tokens.reaching())

    by_option = holdfast(*listing, "--api-token-file", str(file))
    monkeypatch.setenv("HOLDFAST_API_TOKEN_FILE", str(file))
    by_environment = holdfast(*listing)
    denied = holdfast(*MAKE, *tokens.reaching())
    local = holdfast("api-tokens", "list", "--json")

    assert by_option.code == by_environment.code == local.code == Exit.OK
    assert by_environment.json()["tokens"][0]["use_time"] is not None
    assert denied.code == Exit.DENIED
    assert "API token" in denied.err


@pytest.mark.parametrize(
    ("content", "mode", "code"),
    [
        ("hfat_no", 0o600, Exit.USAGE),
        ("", 0o600, Exit.USAGE),
        ("\xff\xfe", 0o600, Exit.USAGE),
        ("hfat_" + "a" * 12 + "_" + "A" * 43, 0o600, Exit.DENIED),
        ("hfat_" + "a" * 12 + "_" + "A" * 43, 0o644, Exit.FAILURE),
    ],
    ids=["no token", "empty", "bytes", "unknown", "others may read it"],
)
def test_a_file_without_a_good_token_is_refused_without_its_content(
    tokens: TokenHost, holdfast: Run, tmp_path: Path, content: str, mode: int, code: int
) -> None:
    """What was in it is not shown; an unknown one is refused by control."""
    file = tmp_path / "token"
    file.write_text(content)
    file.chmod(mode)

    listed = holdfast("api-tokens", "list", *tokens.reaching(), "--api-token-file", str(file))

    assert listed.code == code
    assert not content or content not in listed.out + listed.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--local", "--api-token-file", "x"), "takes no certificate, token or address"),
        (("--api-token-file", "x"), "needs --address"),
        (("--address", "127.0.0.1:1"), "--api-token-file"),
    ],
    ids=["local", "no address", "nothing to show"],
)
def test_how_to_reach_control_is_not_guessed(
    tokens: TokenHost, holdfast: Run, options: tuple[str, ...], says: str
) -> None:
    """A usage error says what is missing."""
    listed = holdfast("api-tokens", "list", *options)

    assert listed.code == Exit.USAGE
    assert says in listed.err


def test_rotating_asks_unless_there_is_an_overlap(tokens: TokenHost, holdfast: Run) -> None:
    """Because playbooks stop; a script says --yes."""
    token = holdfast(*MAKE, "--json").json()["token"]["name"]

    unasked = holdfast("api-tokens", "rotate", token)
    sure = holdfast("api-tokens", "rotate", token, "--yes")
    gentle = holdfast("api-tokens", "rotate", token.removeprefix("apiTokens/"), "--overlap", "24h")

    assert unasked.code == Exit.USAGE
    assert "--yes" in unasked.err
    assert sure.code == gentle.code == Exit.OK
    assert _SECRET.fullmatch(gentle.out.strip())
    assert "old secret works until" in gentle.err


def test_revoking_asks_and_says_what_came_of_it(tokens: TokenHost, holdfast: Run) -> None:
    """Once more is no error."""
    token = holdfast(*MAKE, "--json").json()["token"]["name"]

    unasked = holdfast("api-tokens", "revoke", token, "--reason", "leaked")
    first = holdfast("api-tokens", "revoke", token, "--reason", "leaked", "--yes")
    again = holdfast("api-tokens", "revoke", token, "--reason", "leaked", "--yes", "--json")
    living = holdfast("api-tokens", "list")
    every = holdfast("api-tokens", "list", "--all")

    assert unasked.code == Exit.USAGE
    assert first.code == again.code == Exit.OK
    assert again.json()["token"]["state"] == "REVOKED"
    assert "there are none" in living.out
    assert "REVOKED" in every.out


def test_a_pasted_secret_is_not_sent_on(tokens: TokenHost, holdfast: Run) -> None:
    """It is told that it is burnt, and not repeated."""
    secret = holdfast(*MAKE).out.strip()

    for command in (("rotate", secret, "--yes"), ("revoke", secret, "--reason", "x", "--yes")):
        refused = holdfast("api-tokens", *command)
        assert refused.code == Exit.USAGE
        assert "rotate the token" in refused.err
        assert secret not in refused.out + refused.err
