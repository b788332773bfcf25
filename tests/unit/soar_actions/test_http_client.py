# SPDX-License-Identifier: Apache-2.0
"""The JSON client against real TLS servers: right ones, wrong ones, slow ones and liars."""

from __future__ import annotations

import http.client
import json
import logging
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from soar_actions.client import http as client_http
from soar_actions.client.retry import with_retries
from soar_actions.client.tls import tls_error
from soar_actions.errors import ActionError, ErrorClass
from soar_actions.run import perform
from tests.support.certificates import SERVER, Authority
from tests.unit.soar_actions.server import Request, Server, serving

CANARY = "hfat_canary000001_s3cr3t"
AGENT = {"agent": {"agent": "banking", "owner": "emma@example.com"}}
CONTAINED = {
    "receipt": {"directive": {"epoch": "42"}, "durable": True, "contained": True, "gates": []}
}
PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


@pytest.fixture(scope="module")
def authority() -> Authority:
    """The CA of control's certificate."""
    return Authority()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own proxy has no part in this."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def serve(authority: Authority, tmp_path: Path) -> Any:
    """Serve with a certificate of the CA."""
    return partial(serving, authority, tmp_path)


@pytest.fixture
def ask(authority: Authority) -> Any:
    """Run an action against a server; answers the result."""

    def call(
        server: Server,
        slug: str = "get-agent",
        *,
        host: str = "127.0.0.1",
        key: str = "run-00000001",
        parameters: dict[str, str] | None = None,
        **asset: str,
    ) -> dict[str, Any]:
        given = {
            "endpoint": f"https://{host}:{server.port}",
            "api_token": CANARY,
            "ca_certificate": authority.pem.decode(),
            "timeout_seconds": "1",
            **asset,
        }
        result = perform(
            slug,
            asset={name: value for name, value in given.items() if value},
            parameters=parameters or {"agent": "banking"},
            key=key,
        )
        assert CANARY not in json.dumps(result)
        return result

    return call


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the whole action take 2.5 s at most, and its pauses next to nothing."""
    begin = client_http.HttpTransport.__init__

    def short(self: Any, connection: Any, *, total_s: float) -> None:
        begin(self, connection, total_s=min(total_s, 2.5))

    monkeypatch.setattr(client_http.HttpTransport, "__init__", short)


def good(request: Request) -> None:
    """Answer what control would."""
    request.answer(200, AGENT)


def error(code: str, status: int, reason: str = "", hint: str = "") -> Any:
    """Return the behaviour of answering an error in Connect's form."""
    info = {"reason": reason, "domain": "holdfast", "metadata": {"hint": hint}}
    body = {
        "code": code,
        "message": "it was not to be",
        "details": [{"type": "google.rpc.ErrorInfo", "value": "CgA", "debug": info}],
    }
    return lambda request: request.answer(status, body)


def test_an_action_is_one_request(serve: Any, ask: Any) -> None:
    """Connect's unary JSON, the token in a header, and nothing in the address but the method."""
    with serve(good) as server:
        result = ask(server)

    path, headers, body = server.requests[0]
    assert result["status"] == "SUCCESS"
    assert result["agent"]["owner"] == "emma@example.com"
    assert path == "/sidecar.api.v1.AgentService/GetAgent"
    assert headers["Authorization"] == f"Bearer {CANARY}"
    assert headers["Content-Type"] == "application/json"
    assert headers["Connect-Protocol-Version"] == "1"
    assert body == {"agent": "banking"}


def test_an_answer_that_waits_for_a_human_is_202(serve: Any, ask: Any) -> None:
    """Accepted is an answer; the action is PENDING."""
    operation = {"name": "operations/apr_1", "state": "STATE_PENDING_APPROVAL"}

    with serve(lambda request: request.answer(202, {"operation": operation})) as server:
        result = ask(server, "contain-agent", parameters={"agent": "banking", "reason": "r"})

    assert result["status"] == "PENDING"


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("invalid_argument", 400, "BAD_INPUT"),
        ("unauthenticated", 401, "REFUSED"),
        ("permission_denied", 403, "REFUSED"),
        ("not_found", 404, "NOT_FOUND"),
        ("already_exists", 409, "CONFLICT"),
        ("failed_precondition", 400, "REFUSED"),
        ("internal", 500, "FAILED"),
        ("unimplemented", 501, "FAILED"),
        ("a_new_code", 500, "FAILED"),
    ],
)
def test_errors_of_control_are_told_and_not_retried(
    serve: Any, ask: Any, code: str, status: int, kind: str
) -> None:
    """Class, reason and what to do; sent once."""
    with serve(error(code, status, "SOME_REASON", "do this")) as server:
        result = ask(server)

    assert result["error"] == {
        "class": kind, "reason": "SOME_REASON", "remedy": "do this", "retryable": False
    }  # fmt: skip
    assert len(server.requests) == 1


def test_i02_the_same_key_with_other_parameters_is_a_conflict(serve: Any, ask: Any) -> None:
    """Control says so, and it is neither retried nor shown as done."""
    with serve(error("already_exists", 409, "REQUEST_ID_CONFLICT")) as server:
        result = ask(server, "contain-agent", parameters={"agent": "banking", "reason": "r"})

    assert result["status"] == "FAILED"
    assert result["error"]["class"] == "CONFLICT"
    assert len(server.requests) == 1


def test_i01_unavailable_is_tried_again_with_the_same_key(serve: Any, ask: Any) -> None:
    """What may have arrived is sent again as the same order."""
    busy = error("unavailable", 503)
    done = lambda request: request.answer(200, CONTAINED)  # noqa: E731

    with serve(busy, busy, done) as server:
        result = ask(server, "contain-agent", parameters={"agent": "banking", "reason": "r"})

    assert result["status"] == "SUCCESS"
    assert [body["requestId"] for _, _, body in server.requests] == ["run-00000001"] * 3


def test_i04_attempts_are_bounded_and_stated(serve: Any, ask: Any) -> None:
    """Four, and the error says how many in what time."""
    with serve(error("unavailable", 503)) as server:
        result = ask(server)

    assert len(server.requests) == 4
    assert result["error"]["retryable"]
    assert "4 attempts in" in result["summary"]
    assert "same idempotency key" in result["error"]["remedy"]


def drip(request: Request) -> None:
    """Send a byte now and then, for ever: no read of the client ever times out."""
    request.send_response(200)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", "100000")
    request.end_headers()
    while not request.server.owner.stopped.wait(0.1):
        request.wfile.write(b" ")
        request.wfile.flush()


def drip_headers(request: Request) -> None:
    """The same before the body."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not request.server.owner.stopped.wait(0.1):
        request.wfile.write(b"X: y\r\n")
        request.wfile.flush()


def drip_to_the_end(request: Request) -> None:
    """The same on a connection that ends with this answer, as control's do."""
    request.send_response(200)
    request.send_header("Connection", "close")
    request.send_header("Content-Length", "100000")
    request.end_headers()
    while not request.server.owner.stopped.wait(0.1):
        request.wfile.write(b" ")
        request.wfile.flush()


def silent(request: Request) -> None:
    """Take the request and say nothing."""
    request.server.owner.stopped.wait(10)


@pytest.mark.parametrize("behaviour", [drip, drip_headers, drip_to_the_end, silent])
def test_i04_a_slow_server_ends_at_the_deadline(
    serve: Any, ask: Any, impatient: None, behaviour: Any
) -> None:
    """By the clock on the wall, whatever arrives meanwhile."""
    begin = time.monotonic()

    with serve(behaviour) as server:
        result = ask(server)
        spent = time.monotonic() - begin
        join_attempts()

    assert result["error"]["reason"] == "DEADLINE"
    assert result["error"]["retryable"]
    assert spent < 4
    assert "attempts in" in result["summary"]


def join_attempts() -> None:
    """Wait for the threads of attempts that were given up; none may stay."""
    for thread in threading.enumerate():
        if thread.name == "holdfast-soar":
            thread.join(5)
            assert not thread.is_alive()


def test_i04_an_attempt_that_was_given_up_sends_nothing(
    serve: Any, ask: Any, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name service answers when the playbook has long been told that nothing came of it."""
    lookup, is_answering = socket.getaddrinfo, threading.Event()

    def slow(*args: Any, **options: Any) -> Any:
        is_answering.wait(20)
        return lookup(*args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with serve(good) as server:
        late = ask(server)
        is_answering.set()
        join_attempts()
        requests = list(server.requests)
        in_time = ask(server)

    assert late["error"]["reason"] == "DEADLINE"
    assert not requests
    assert in_time["status"] == "SUCCESS"


def test_i01_an_answer_that_broke_off_is_asked_for_again(serve: Any, ask: Any) -> None:
    """What was ordered may be done: half an answer is not the answer of something else."""

    def half(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", "4000")
        request.end_headers()
        request.wfile.write(b'{"receipt": {"directive"')
        request.close_connection = True

    done = lambda request: request.answer(200, CONTAINED)  # noqa: E731
    order = {"agent": "banking", "reason": "r"}

    with serve(half, done) as server:
        result = ask(server, "contain-agent", parameters=order)
    with serve(half) as server:
        lost = ask(server, "contain-agent", parameters=order)

    assert result["status"] == "SUCCESS"
    assert lost["error"]["class"] == "UNAVAILABLE"
    assert lost["error"]["retryable"]


def test_i05_another_ca_is_not_trusted(serve: Any, ask: Any) -> None:
    """Nothing is sent to a server that cannot prove who it is."""
    with serve(good) as server:
        result = ask(server, ca_certificate=Authority().pem.decode())

    assert result["error"]["reason"] == "SERVER_NOT_TRUSTED"
    assert not result["error"]["retryable"]
    assert "cannot be switched off" in result["error"]["remedy"]
    assert not server.requests


def test_an_issuing_ca_is_enough(serve: Any, ask: Any, authority: Authority) -> None:
    """On every Python: what was given is what is trusted. Its root alone is not the chain."""
    issuing = Authority("issuing", parent=authority)
    with serve(good, credential=issuing.server()) as server:
        result = ask(server, ca_certificate=issuing.pem.decode())
        without = ask(server)

    assert result["status"] == "SUCCESS"
    assert without["error"]["reason"] == "SERVER_NOT_TRUSTED"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", ErrorClass.REFUSED),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", ErrorClass.REFUSED),
        ("TLSV1_ALERT_UNKNOWN_CA", ErrorClass.REFUSED),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", ErrorClass.REFUSED),
        ("TLSV1_ALERT_INTERNAL_ERROR", ErrorClass.UNAVAILABLE),
        ("SSLV3_ALERT_UNEXPECTED_MESSAGE", ErrorClass.UNAVAILABLE),
    ],
)
def test_only_alerts_about_certificates_are_told_so(reason: str, expected: ErrorClass) -> None:
    """A server that failed for its own reasons is worth another attempt."""
    failed = ssl.SSLError(1, f"[SSL: {reason}] alert")
    failed.reason = reason

    assert tls_error(failed).kind is expected


def test_i05_the_system_does_not_trust_it_either(serve: Any, ask: Any) -> None:
    """Without a CA in the asset the system's count, and none of them made this certificate."""
    with serve(good) as server:
        result = ask(server, ca_certificate="")

    assert result["error"]["reason"] == "SERVER_NOT_TRUSTED"
    assert not server.requests


@pytest.mark.parametrize(
    "flaw", ["expired", "not_yet", "other_name", "no_name", "common_name", "self_signed"]
)
def test_i05_a_flawed_certificate_is_not_trusted(
    authority: Authority, serve: Any, ask: Any, flaw: str
) -> None:
    """Time, name and issuer are all checked."""
    now = datetime.now(UTC)
    names: dict[str, Any] = {"dns": ["localhost"], "ips": ["127.0.0.1"], "usage": SERVER}
    hour = timedelta(hours=1)
    credential = {
        "expired": lambda: authority.issue(
            **names, not_before=now - 2 * hour, not_after=now - hour
        ),
        "not_yet": lambda: authority.issue(
            **names, not_before=now + hour, not_after=now + 2 * hour
        ),
        "other_name": lambda: authority.issue(dns=["evil.example"], usage=SERVER),
        "no_name": lambda: authority.issue(usage=SERVER, common_name="127.0.0.1"),
        "common_name": lambda: authority.issue(usage=SERVER, common_name="localhost"),
        "self_signed": lambda: Authority().server(),
    }[flaw]()

    with serve(good, credential=credential) as server:
        results = [ask(server), ask(server, host="localhost")]

    assert {result["error"]["reason"] for result in results} == {"SERVER_NOT_TRUSTED"}
    assert not server.requests


def test_i05_plain_http_gets_nothing(serve: Any, ask: Any) -> None:
    """A server without TLS never sees the request, and so not the token."""
    with serve(good, is_plain=True) as server:
        result = ask(server)

    assert result["error"]["reason"] == "SERVER_NOT_TRUSTED"
    assert not server.requests


def test_i05_negative_control_the_right_server(serve: Any, ask: Any) -> None:
    """By name and by address, it is the flaw that was refused."""
    with serve(good) as server:
        by_address = ask(server)
        by_name = ask(server, host="localhost")

    assert by_address["status"] == by_name["status"] == "SUCCESS"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(serve: Any, ask: Any, status: int) -> None:
    """The credential goes where the asset says."""
    with serve(good) as elsewhere:
        target = f"https://127.0.0.1:{elsewhere.port}/"
        with serve(lambda request: request.answer(status, b"", Location=target)) as server:
            result = ask(server)

    assert result["error"]["reason"] == "REDIRECTED"
    assert not elsewhere.requests


HOSTILE = b"<html>secret-page-canary \x1b]52;c;\x07"


@pytest.mark.parametrize(
    "behaviour",
    [
        lambda request: request.answer(200, HOSTILE, "text/html"),
        lambda request: request.answer(200, HOSTILE),
        lambda request: request.answer(500, HOSTILE, "text/html"),
        lambda request: request.answer(403, HOSTILE, "text/html"),
        lambda request: request.answer(200, b"[1]"),
        lambda request: request.answer(200, b"null"),
        lambda request: request.answer(200, b'{"agent": NaN}'),
        lambda request: request.answer(200, b"[" * 200_000),
        lambda request: request.answer(200, b"\xff\xfe{}"),
        lambda request: request.answer(204, b""),
        lambda request: request.answer(200, AGENT, "application/jsonp"),
        lambda request: request.answer(200, AGENT, Content_Encoding="gzip"),
        lambda request: request.answer(400, {"code": 7}),
        lambda request: request.answer(200, {"agent": {"owner": "\ud800"}}),
    ],
    ids=["page", "not_json", "page_500", "page_403", "list", "null", "nan", "deep", "utf16",
         "no_content", "other_type", "encoded", "odd_code", "half_a_character"],
)  # fmt: skip
def test_what_is_not_control_is_not_repeated(serve: Any, ask: Any, behaviour: Any) -> None:
    """A portal's page is neither a success nor quoted."""
    with serve(behaviour) as server:
        result = ask(server)

    assert result["status"] == "FAILED"
    assert result["error"]["reason"] == "NOT_CONTROL"
    assert "canary" not in json.dumps(result)


def test_a_busy_proxy_is_unavailable(serve: Any, ask: Any) -> None:
    """A load balancer's own 503 is tried again, and its page not quoted."""
    page = lambda request: request.answer(503, HOSTILE, "text/html")  # noqa: E731
    its_own = {"code": "GatewayBusy", "message": "secret-page-canary"}
    gateway = lambda request: request.answer(503, its_own)  # noqa: E731

    with serve(page, gateway, good) as server:
        result = ask(server)
    with serve(gateway) as server:
        busy = ask(server)

    assert result["status"] == "SUCCESS"
    assert busy["error"]["class"] == "UNAVAILABLE"
    assert "canary" not in json.dumps(busy)


def test_an_endless_answer_is_cut(serve: Any, ask: Any) -> None:
    """Not more than 16 MiB are read."""

    def endless(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.end_headers()
        for _ in range(40):
            request.wfile.write(b" " * (1024 * 1024))

    with serve(endless) as server:
        result = ask(server, timeout_seconds="10")

    assert result["error"]["reason"] == "ANSWER_TOO_LONG"


def test_words_of_control_are_cleaned(serve: Any, ask: Any) -> None:
    """A message may quote an agent: nothing in it steers a terminal, and it ends."""
    body = {"code": "internal", "message": "a\x1b[2J\u202e" + "b" * 100_000}

    with serve(lambda request: request.answer(500, body)) as server:
        result = ask(server)

    assert "\x1b" not in result["summary"]
    assert "\u202e" not in result["summary"]
    assert len(result["summary"]) <= 1000


def test_a_client_certificate_is_shown(authority: Authority, serve: Any, ask: Any) -> None:
    """Mutual TLS with PEM text, and no token."""
    leaf = authority.issue(uris=["spiffe://holdfast/operator/soar"])

    with serve(good, wants_client=authority) as server:
        result = ask(
            server,
            api_token="",
            client_certificate=leaf.chain.decode(),
            client_key=leaf.key_pem.decode(),
        )

    assert result["status"] == "SUCCESS"
    assert "Authorization" not in server.requests[0][1]


def test_a_platform_without_temporary_files_is_told(
    authority: Authority, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that is read-only: a failure that says what to do, and no exception."""
    leaf = authority.issue(uris=["spiffe://holdfast/operator/soar"])
    monkeypatch.setattr("tempfile.tempdir", "/nowhere/at/all")

    result = ask(
        Server(port=1),
        api_token="",
        client_certificate=leaf.chain.decode(),
        client_key=leaf.key_pem.decode(),
    )

    assert result["error"]["reason"] == "NO_TEMPORARY_FILE"
    assert "api_token" in result["error"]["remedy"]


def test_a_client_certificate_of_another_ca_is_refused(
    authority: Authority, serve: Any, ask: Any
) -> None:
    """It is said that the credential is wrong, or at least nothing was done."""
    leaf = Authority().issue(uris=["spiffe://holdfast/operator/soar"])

    with serve(good, wants_client=authority) as server:
        result = ask(
            server,
            client_certificate=leaf.chain.decode(),
            client_key=leaf.key_pem.decode(),
        )

    assert result["status"] == "FAILED"
    assert not server.requests


def _tunnel_to(port: int) -> Any:
    """Return the behaviour of a proxy that connects to *port*, whatever host it is asked for."""

    def tunnel(request: Request) -> None:
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            request.send_response(200)
            request.end_headers()
            pair = {request.connection: upstream, upstream: request.connection}
            with selectors.DefaultSelector() as selector:
                for end in pair:
                    selector.register(end, selectors.EVENT_READ)
                while True:
                    for key, _ in selector.select(5) or [(None, 0)]:
                        data = key.fileobj.recv(65536) if key else b""
                        if not data:
                            request.close_connection = True
                            return
                        pair[key.fileobj].sendall(data)

    return tunnel


@contextmanager
def proxied(serve: Any) -> Iterator[tuple[Server, Server]]:
    """Run a server, and a proxy that leads to it."""
    with serve(good) as server, serve(is_plain=True, tunnel=_tunnel_to(server.port)) as proxy:
        yield server, proxy


def test_a_proxy_sees_no_credential(serve: Any, ask: Any) -> None:
    """CONNECT only: TLS is between us and control, and its certificate is checked as ever."""
    with proxied(serve) as (server, proxy):
        url = f"http://user:proxy-pass@127.0.0.1:{proxy.port}"
        result = ask(server, host="localhost", proxy=url)

    path, headers, _ = proxy.requests[0]
    assert result["status"] == "SUCCESS"
    assert path == f"localhost:{server.port}"
    assert headers["Proxy-Authorization"].startswith("Basic ")
    assert "Authorization" not in headers
    assert CANARY not in json.dumps(headers)


def test_the_environments_proxy_is_honoured(
    serve: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And NO_PROXY too."""
    with proxied(serve) as (server, proxy):
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        through = ask(server)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        past = ask(server)

    assert through["status"] == past["status"] == "SUCCESS"
    assert len(proxy.requests) == 1


def test_a_proxy_that_refuses_is_unavailable(serve: Any, ask: Any) -> None:
    """Its answer is not quoted."""
    refuse = lambda request: request.answer(403, HOSTILE, "text/html")  # noqa: E731

    with serve(is_plain=True, tunnel=refuse) as proxy, serve(good) as server:
        result = ask(server, proxy=f"http://127.0.0.1:{proxy.port}")

    assert result["error"]["reason"] == "PROXY"
    assert "canary" not in json.dumps(result)
    assert not server.requests


def test_nobody_there_is_unavailable(ask: Any) -> None:
    """Retryable, with what to do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        result = ask(Server(port=probe.getsockname()[1]))

    assert result["error"]["class"] == "UNAVAILABLE"
    assert "holdfast contain agent AGENT --level kill" in result["error"]["remedy"]


def test_i06_no_secret_is_logged(
    serve: Any, ask: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not even with every logger at its loudest, whatever goes wrong."""
    caplog.set_level(logging.DEBUG)

    for behaviour in (good, error("internal", 500), lambda request: request.answer(302, b"")):
        with serve(behaviour) as server:
            ask(server)
            ask(server, ca_certificate="")

    out, err = capfd.readouterr()
    assert CANARY not in caplog.text + out + err


def test_i06_no_secret_is_traced(
    serve: Any, ask: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Platforms have a debug mode in which ``http.client`` prints every header that it sends."""
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)

    with proxied(serve) as (server, proxy):
        direct = ask(server)
        through = ask(server, proxy=f"http://user:{CANARY}@127.0.0.1:{proxy.port}")

    out, err = capfd.readouterr()
    assert direct["status"] == through["status"] == "SUCCESS"
    assert CANARY not in out + err
    assert "Proxy-Authorization" not in out + err


def test_i04_a_fleet_does_not_wait_for_each(serve: Any, ask: Any) -> None:
    """Once control was down for all attempts, every further agent is asked for once."""
    with serve(error("unavailable", 503)) as server:
        result = ask(
            server, "contain-agents", parameters={"agents": "a,b,c,d,e", "reason": "alert 4711"}
        )

    assert result["status"] == "FAILED"
    assert len(result["targets"]) == 5
    assert len(server.requests) == 4 + 4


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def test_i04_the_total_is_never_passed() -> None:
    """Attempts get what is left, and none is begun without time."""
    clock = Clock()
    given: list[float] = []

    def attempt(seconds: float) -> None:
        given.append(seconds)
        clock.now += seconds
        raise ActionError(ErrorClass.UNAVAILABLE, "late", reason="DEADLINE")

    with pytest.raises(ActionError) as caught:
        with_retries(
            attempt, attempt_s=10, deadline=24, clock=lambda: clock.now, sleep=clock.sleep,
            jitter=lambda: 0.5,
        )  # fmt: skip

    assert clock.now <= 24
    assert given[:2] == [10, 10]
    assert given[2] < 4
    assert "3 attempts in 24.0 s" in caught.value.message


def test_i04_a_pause_that_took_too_long_is_no_bad_input() -> None:
    """The machine slept meanwhile: no attempt is begun with less than no time."""
    clock = Clock()
    given: list[float] = []

    def attempt(seconds: float) -> None:
        given.append(seconds)
        raise ActionError(ErrorClass.UNAVAILABLE, "busy")

    def oversleep(_: float) -> None:
        clock.now += 60

    with pytest.raises(ActionError) as caught:
        with_retries(attempt, attempt_s=1, deadline=30, clock=lambda: clock.now, sleep=oversleep)

    assert given == [1]
    assert "1 attempt in 60.0 s" in caught.value.message


@pytest.mark.parametrize("jitter", [0.0, 0.999])
def test_i04_pauses_grow_and_differ(jitter: float) -> None:
    """So that a fleet of playbooks does not come back in step."""
    clock = Clock()

    def attempt(_: float) -> None:
        raise ActionError(ErrorClass.UNAVAILABLE, "busy")

    with pytest.raises(ActionError):
        with_retries(
            attempt, attempt_s=1, deadline=100, clock=lambda: clock.now, sleep=clock.sleep,
            jitter=lambda: jitter,
        )  # fmt: skip

    assert len(clock.pauses) == 3
    assert clock.pauses == sorted(clock.pauses)
    assert clock.pauses[0] == pytest.approx(0.25 * (0.5 + jitter))
