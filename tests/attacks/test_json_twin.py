# SPDX-License-Identifier: Apache-2.0
"""What strangers can do to the JSON port, and what they cannot: reach a method, starve the lever."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from sidecar.jsonapi.listener import Limits, Listener, Peer, tls_context
from tests.support.bundles import spiffe
from tests.support.certificates import SERVER, Authority, Credential
from tests.support.clients import new_id
from tests.support.polling import eventually
from tests.support.processes import Zygote
from tests.support.twin import Raw, TwinBed, client_context

GET_AGENT = "/sidecar.api.v1.AgentService/GetAgent"
CONTAIN = "/sidecar.api.v1.ContainmentService/Contain"
KILLED = "DENY KILLED"


@pytest.fixture(scope="module")
def bed(zygote: Zygote, authority: Authority) -> Iterator[TwinBed]:
    """A running host with a JSON port; each test takes agents of its own."""
    host = TwinBed(zygote, authority, spare_agents=100)
    try:
        host.begin()
        yield host
    finally:
        host.close()


def _post(path: str, body: bytes, *headers: str, length: bool = True) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _kill(agent: str, **more: Any) -> bytes:
    order = {
        "requestId": new_id(),
        "target": {"agent": agent},
        "level": "LEVEL_KILL",
        "reason": "a test ordered it",
        **more,
    }
    return json.dumps(order).encode()


# -- who is let in ----------------------------------------------------------------------------------


def _bad_credentials(authority: Authority) -> dict[str, Credential]:
    now = datetime.now(UTC)
    leaf = authority.issue(uris=[spiffe("alice")])
    return {
        "other-ca": Authority("another CA").issue(uris=[spiffe("alice")]),
        "same-name-ca": Authority().issue(uris=[spiffe("alice")]),
        "expired": authority.issue(
            uris=[spiffe("alice")],
            not_before=now - timedelta(hours=2),
            not_after=now - timedelta(hours=1),
        ),
        "not-yet": authority.issue(uris=[spiffe("alice")], not_before=now + timedelta(minutes=30)),
        "server-only": authority.issue(uris=[spiffe("alice")], usage=SERVER),
        "signed-by-leaf": authority.issue(uris=[spiffe("alice")], issuer=leaf),
    }


@pytest.mark.parametrize(
    "kind", ["other-ca", "same-name-ca", "expired", "not-yet", "server-only", "signed-by-leaf"]
)
async def test_h01_a_bad_certificate_gets_no_answer(
    bed: TwinBed, authority: Authority, kind: str
) -> None:
    """A certificate is optional, and a bad one is none: the connection ends."""
    answered = 0
    try:
        async with bed.raw(credential=_bad_credentials(authority)[kind]) as raw:
            await raw.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            answered = await raw.status()
    except (ssl.SSLError, ConnectionError):
        pass

    assert answered == 0


@pytest.mark.parametrize(
    "uris",
    [[], [spiffe("alice"), spiffe("bob")], ["spiffe://HOLDFAST.test/operator/alice"], ["urn:x"]],
    ids=["none", "two", "upper-case", "no-spiffe"],
)
async def test_h02_a_certificate_that_names_nobody_is_nobody(
    bed: TwinBed, authority: Authority, uris: list[str]
) -> None:
    """Exactly one strict SPIFFE id, as over gRPC; a DNS name is not looked at."""
    credential = authority.issue(uris=uris, dns=["alice"])
    async with bed.json(credential=credential) as client:
        answer = await client.call("AgentService/ListAgents")

    assert answer.status == 401


async def test_h03_a_certificate_ends_on_a_connection_that_goes_on(
    bed: TwinBed, authority: Authority
) -> None:
    """Its time is asked at every request, not only at the handshake."""
    brief = authority.issue(
        uris=[spiffe("alice")], not_after=datetime.now(UTC) + timedelta(seconds=3)
    )
    request = _post("/sidecar.api.v1.AgentService/ListAgents", b"{}")
    async with bed.raw(credential=brief) as raw:
        await raw.send(request)
        before = await raw.status()

        async def is_over() -> bool:
            await raw.send(request)
            return await raw.status() == 401

        await eventually(is_over, 10)

    assert before == 200


async def test_h03_without_looking_again_it_would_go_on_negative_control(
    zygote: Zygote, authority: Authority
) -> None:
    """The look at every request is what ends it."""
    host = TwinBed(zygote, authority)
    try:
        host.launch_control(breakages=["no-certificate-expiry"])
        host.wait_control()
        over = datetime.now(UTC) + timedelta(seconds=2)
        request = _post("/sidecar.api.v1.AgentService/ListAgents", b"{}")
        async with host.raw(
            credential=authority.issue(uris=[spiffe("alice")], not_after=over)
        ) as raw:
            await raw.send(request)
            first = await raw.status()

            async def is_late() -> bool:
                return datetime.now(UTC) > over + timedelta(seconds=1)

            await eventually(is_late, 10)
            await raw.send(request)
            later = await raw.status()
    finally:
        host.close()

    assert (first, later) == (200, 200)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_h12_old_tls_is_refused(bed: TwinBed, version: ssl.TLSVersion) -> None:
    """TLS 1.2 is the oldest, whatever the client would rather have."""
    context = _lax(bed)
    context.minimum_version = context.maximum_version = version

    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(
            "127.0.0.1", bed.port, ssl=context, server_hostname="localhost"
        )


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_h12_tls_that_is_new_enough_is_taken_negative_control(
    bed: TwinBed, version: ssl.TLSVersion
) -> None:
    """The same client with a newer version is served, with forward secrecy and no ticket."""
    context = _lax(bed)
    context.minimum_version = context.maximum_version = version
    _, writer = await asyncio.open_connection(
        "127.0.0.1", bed.port, ssl=context, server_hostname="localhost"
    )
    tls = writer.get_extra_info("ssl_object")
    name, ticket = tls.cipher()[0], tls.session.has_ticket if tls.session else False
    writer.transport.abort()

    assert name.startswith(("ECDHE-", "TLS_"))
    assert not ticket


@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA"])
async def test_h12_weak_suites_are_refused(bed: TwinBed, cipher: str) -> None:
    """No suite without forward secrecy, none with CBC."""
    context = _lax(bed)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{cipher}:@SECLEVEL=0")

    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(
            "127.0.0.1", bed.port, ssl=context, server_hostname="localhost"
        )


def _lax(bed: TwinBed) -> ssl.SSLContext:
    context = client_context(bed.authority.pem)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


async def test_i05_plain_http_gets_no_answer(bed: TwinBed) -> None:
    """There is no plain HTTP, not even to say so."""
    reader, writer = await asyncio.open_connection("127.0.0.1", bed.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")

    said = await asyncio.wait_for(reader.read(), 10)

    writer.close()
    assert b"HTTP/" not in said


# -- what a request is ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        (
            b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            (400,),
        ),
        (b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", (400,)),
        (b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}", (400,)),
        (b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 2 2\r\n\r\n{}", (400,)),
        (b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", (400,)),
        (b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", (400,)),
        (b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", (400,)),
        (b"POST %s HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n", (400,)),
        (b"POST %s HTTP/1.1\r\nHost: x\r\nA\x00b: y\r\n\r\n", (400,)),
        (b"POST %s HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n", (400,)),
        (b"POST %s HTTP/9.9\r\nHost: x\r\n\r\n", (400,)),
        (b"PO ST %s HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (0, 400)),
        (b"\x00\xff\x80garbage\r\n\r\n", (400,)),
        (b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 5000), (400,)),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n" % (b"a" * 9000), (400,)),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n%s\r\n" % (b"A: b\r\n" * 200), (400,)),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n%s\r\n" % (b"A: %s\r\n" % (b"c" * 3000) * 3), (431,)),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n%s\r\n" % (b"A: %s\r\n" % (b"c" * 140) * 60), (431,)),
    ],
    ids=[
        "length-and-chunked", "two-lengths", "signed-length", "spaced-length", "negative-length",
        "unknown-coding", "space-before-colon", "folded", "nul-in-name", "nul-in-value", "version",
        "split-verb", "http2", "garbage", "long-line", "long-field", "many-fields",
        "long-head", "long-head-of-many",
    ],
)  # fmt: skip
async def test_h08_what_two_parsers_could_read_differently_is_refused(
    bed: TwinBed, request_: bytes, statuses: tuple[int, ...]
) -> None:
    """It is refused, the connection ends, and nothing behind it is read as a request of its own."""
    name = bed.fresh_agent()
    hidden = _post(CONTAIN, _kill(name))
    data = request_.replace(b"%s", GET_AGENT.encode()) + hidden
    async with bed.raw("alice") as raw, bed.agent(name) as agent:
        await raw.send(data)
        status = await raw.status()
        ended = await raw.ends()
        verdict = await agent.verdict()

    assert status in statuses
    assert ended
    assert verdict != KILLED


async def test_h08_the_same_request_alone_kills_negative_control(bed: TwinBed) -> None:
    """What was hidden is a real order."""
    name = bed.fresh_agent()
    async with bed.raw("alice") as raw, bed.agent(name) as agent:
        await raw.send(_post(CONTAIN, _kill(name)))
        status = await raw.status()
        verdict = await agent.verdict()

    assert (status, verdict) == (200, KILLED)


async def test_requests_that_follow_each_other_are_answered_in_order(bed: TwinBed) -> None:
    """Pipelining is HTTP/1.1, and each answer belongs to its request; chunks are one body."""
    async with bed.raw("alice") as raw:
        chunked = (
            f"POST {GET_AGENT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            'Transfer-Encoding: chunked\r\n\r\n8\r\n{"agent"\r\n9\r\n:"alpha"}\r\n0\r\n\r\n'
        ).encode()
        await raw.send(
            _post(GET_AGENT, b'{"agent":"alpha"}')
            + chunked
            + _post(GET_AGENT, b'{"agent":"nobody-knows"}')
        )
        statuses = [await raw.status() for _ in range(3)]

    assert statuses == [200, 200, 404]


@pytest.mark.parametrize("verb", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"])
async def test_only_post_calls_a_method(bed: TwinBed, verb: str) -> None:
    """And GET reads, HEAD and OPTIONS nothing: there is nothing that a link or a preflight could do."""
    name = bed.fresh_agent()
    async with bed.json("alice") as client, bed.agent(name) as agent:
        answer = await client.send(
            verb, CONTAIN, _kill(name) if verb != "HEAD" else None, Content_Type="application/json"
        )
        verdict = await agent.verdict()

    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert verdict != KILLED


@pytest.mark.parametrize("verb", ["POST", "HEAD", "OPTIONS", "TRACE", "PUT"])
@pytest.mark.parametrize("path", ["/healthz", "/openapi.json", "/v1/operations/apr_1"])
async def test_what_is_read_takes_get_alone(bed: TwinBed, verb: str, path: str) -> None:
    """Every other verb is refused before anybody is asked who they are."""
    async with bed.json("alice") as client:
        answer = await client.send(verb, path)

    assert (answer.status, answer.headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize(
    "path",
    [
        CONTAIN + "/",
        CONTAIN + "?x=1",
        "/" + CONTAIN,
        CONTAIN.lower(),
        CONTAIN.replace("/Contain", "//Contain"),
        CONTAIN.replace("Contain", "%43ontain"),
        "/x/.." + CONTAIN,
        CONTAIN.replace("/Contain", "/../Contain"),
        "/sidecar.api.v1.GuardService/Authorize",
        "/sidecar.internal.v1.SyncService/Sync",
        "/grpc.health.v1.Health/Check",
        "/v1/operations/",
        "/.well-known/openc2/",
        "/openapi.json/../swagger.json",
        "/",
    ],
)
async def test_h10_an_address_has_one_spelling(bed: TwinBed, path: str) -> None:
    """No second way to write it, and nothing of another plane behind it."""
    name = bed.fresh_agent()
    body = _kill(name)
    async with bed.raw("alice") as raw, bed.agent(name) as agent:
        await raw.send(_post(path, body))
        status = await raw.status()
        verdict = await agent.verdict()

    assert (status, verdict == KILLED) == (404, False)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/json; charset=utf-8; x=y"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": "application/grpc"},
        {"Content-Type": "application/proto"},
        {"Content-Type": ""},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "application/json", "Content-Encoding": "br"},
    ],
    ids=lambda headers: " ".join(headers.values()) or "none",
)
async def test_what_a_browser_could_send_to_another_site_is_refused(
    bed: TwinBed, headers: dict[str, str]
) -> None:
    """Without a preflight, which is refused, a page can send none of what is taken here."""
    name = bed.fresh_agent()
    async with bed.json("alice") as client, bed.agent(name) as agent:
        answer = await client.send(
            "POST", CONTAIN, _kill(name), Origin="https://evil.example", **headers
        )
        verdict = await agent.verdict()

    assert (answer.status, answer.headers.get("Access-Control-Allow-Origin")) == (415, None)
    assert verdict != KILLED


async def test_host_and_forwarded_are_nobody_s(bed: TwinBed) -> None:
    """H11: neither names a caller, an address or a site."""
    async with bed.json() as stranger, bed.json("alice") as alice:
        forged = await stranger.call(
            "AgentService/ListAgents",
            X_Forwarded_Client_Cert=f"URI={spiffe('alice')}",
            X_Forwarded_For="127.0.0.1",
            X_Agent_Id="alpha",
            Forwarded="for=127.0.0.1;host=control",
        )
        odd = await alice.call("AgentService/ListAgents", Host="evil.example")

    assert (forged.status, odd.status) == (401, 200)


async def test_a_header_that_counts_comes_once(bed: TwinBed) -> None:
    """Two tokens, two keys, two deadlines: nobody can choose which is meant."""
    token = await bed.token("alice", "contain")
    lines = {
        f"Authorization: Bearer {token}\r\nAuthorization: Bearer {token}": 401,
        "Idempotency-Key: 12345678\r\nIdempotency-Key: 87654321": 400,
        "Connect-Timeout-Ms: 1000\r\nConnect-Timeout-Ms: 2000": 400,
        "Content-Type: text/plain": 400,
    }
    found = {}
    for line in lines:
        async with bed.raw("alice") as raw:
            await raw.send(_post(GET_AGENT, b'{"agent":"alpha"}', line))
            found[line] = await raw.status()

    assert found == lines


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"Idempotency-Key: \xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8", 400),
        (b'Idempotency-Key: "12345678"', 400),
        (b"Idempotency-Key:", 400),
        (b"Idempotency-Key: 1234567", 400),
        (b"Connect-Timeout-Ms:", 400),
        (b"Connect-Timeout-Ms: \xb2", 400),
        (b"Connect-Protocol-Version: \xff", 400),
        (b"Authorization: Bearer \xff\xfe", 401),
        (b"Authorization: \xff", 401),
        (b"Authorization:", 401),
        (b"Content-Encoding: \xff", 415),
        (b"Expect: \xff", 417),
    ],
)
async def test_h08_headers_that_are_no_text_are_refused(
    bed: TwinBed, line: bytes, status: int
) -> None:
    """Bytes that no alphabet has, emptiness and other forms: refused, and never a failure of ours."""
    request = _post(CONTAIN, _kill("alpha", validateOnly=True)).replace(
        b"Host: x", b"Host: x\r\n" + line
    )
    async with bed.raw("alice") as raw:
        await raw.send(request)
        found = await raw.status()

    assert found == status


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
async def test_h06_huge_bodies_are_refused(bed: TwinBed, is_chunked: bool) -> None:
    """One byte beyond the limit, or a size that is only claimed, is not read to its end."""
    async with bed.raw("alice") as raw:
        if is_chunked:
            head = _post(CONTAIN, b"", "Transfer-Encoding: chunked", length=False)
            await raw.send(head)
            part = b"10000\r\n" + b" " * 65536 + b"\r\n"
            try:
                for _ in range(40):
                    await raw.send(part)
            except (ConnectionError, ssl.SSLError):
                pass
        else:
            await raw.send(_post(CONTAIN, b"", "Content-Length: 1073741824", length=False))
        status = await raw.status()
        ended = await raw.ends()

    assert (status in (0, 413) if is_chunked else status == 413, ended) == (True, True)


async def test_h06_a_body_of_the_limit_is_read_negative_control(bed: TwinBed) -> None:
    """1 MiB, as over gRPC; what it says is then judged."""
    body = b'{"agent":"alpha"' + b" " * (1024 * 1024 - 17) + b"}"
    async with bed.raw("alice") as raw:
        await raw.send(_post(GET_AGENT, body))
        status = await raw.status()
    async with bed.raw("alice") as raw:
        await raw.send(_post(GET_AGENT, body + b" "))
        larger = await raw.status()

    assert (status, larger) == (200, 413)


async def test_a_stranger_s_body_is_never_read(bed: TwinBed) -> None:
    """They are answered at the head, and the connection ends."""
    async with bed.raw() as raw:
        await raw.send(_post(CONTAIN, b"", "Content-Length: 1000000", length=False))
        status = await raw.status()
        ended = await raw.ends()

    assert (status, ended) == (401, True)


async def test_expect_is_met_for_those_who_may_send(bed: TwinBed) -> None:
    """Whoever is known is told to go on; a stranger is not, nor is another expectation met."""
    body = b'{"agent":"alpha"}'
    length = f"Content-Length: {len(body)}"
    async with bed.raw("alice") as raw:
        await raw.send(_post(GET_AGENT, b"", "Expect: 100-continue", length, length=False))
        told = await raw.reader.readuntil(b"\r\n\r\n")
        await raw.send(body)
        status = await raw.status()
    async with bed.raw() as raw:
        await raw.send(_post(GET_AGENT, b"", "Expect: 100-continue", length, length=False))
        stranger = await raw.status()
    async with bed.raw("alice") as raw:
        await raw.send(_post(GET_AGENT, b"", "Expect: a miracle", length, length=False))
        miracle = await raw.status()

    assert (told.split()[1], status, stranger, miracle) == (b"100", 200, 401, 417)


async def test_errors_hold_nothing_of_control(bed: TwinBed) -> None:
    """No path, no trace, no library's name, nothing of what was sent."""
    canary = "canary-7f3a"
    async with bed.json("alice") as client, bed.json() as stranger:
        answers = [
            await client.call("AgentService/GetAgent", {"agent": 7}),
            await client.call("AgentService/GetAgent", {canary: 1}),
            await client.send(
                "POST", GET_AGENT, f'{{"agent": {canary}', Content_Type="application/json"
            ),
            await client.get(f"/{canary}"),
            await stranger.call("AgentService/ListAgents", Authorization=f"Bearer hfat_{canary}"),
            await client.send("POST", GET_AGENT, "{}", Content_Type=canary),
        ]

    for answer in answers:
        text = answer.text + str(dict(answer.headers))
        assert answer.status >= 400
        for word in ("Traceback", ".py", "aiohttp", str(bed.root), "protobuf", canary):
            assert word not in text
    assert canary not in (bed.root / "control.log").read_text()


# -- what it may cost -------------------------------------------------------------------------------


@asynccontextmanager
async def _small(authority: Authority, place: Any, **limits: Any) -> AsyncIterator[tuple[int, Any]]:
    """Serve a port with *limits* in this process, whose answer to everything is 200."""
    served: list[str] = []

    async def handle(request: web.BaseRequest, peer: Peer) -> web.Response:
        served.append(request.raw_path)
        if request.raw_path == "/wait":
            await asyncio.Event().wait()
        return web.Response(text="ok")

    certificate, key = authority.server().write(place, "server")
    listener = Listener(
        handle=handle,
        refuse=lambda status: web.Response(status=status),
        tls=tls_context(certificate=certificate, key=key, client_ca=None),
        limits=Limits(**limits),
    )
    await listener.start("127.0.0.1", 0)
    try:
        yield listener.port, served
    finally:
        await listener.aclose()


async def _open(authority: Authority, port: int) -> Raw:
    return Raw(
        *await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_context(authority.pem), server_hostname="localhost"
        )
    )


GOOD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"],
    ids=["silent", "half-a-line", "half-a-head"],
)
async def test_h07_a_slow_head_has_an_end(authority: Authority, tmp_path: Any, sent: bytes) -> None:
    """Whoever does not finish a head in its time is gone."""
    async with _small(authority, tmp_path, head_s=1.0) as (port, _):
        raw = await _open(authority, port)
        await raw.send(sent)

        ended = await raw.ends(10)

    assert ended


async def test_h07_dribbling_does_not_prolong_it(authority: Authority, tmp_path: Any) -> None:
    """One byte now and then is as slow as none."""
    async with _small(authority, tmp_path, head_s=1.0) as (port, _):
        raw = await _open(authority, port)
        begin = time.monotonic()

        async def dribble() -> None:
            await raw.send(b"GET / HTTP/1.1\r\n")
            while True:
                await raw.send(b"A: b\r\n")
                await asyncio.sleep(0.1)  # the slowness is the attack

        dribbling = asyncio.create_task(dribble())
        ended = await raw.ends(10)
        dribbling.cancel()

    assert ended
    assert time.monotonic() - begin < 5


async def test_h07_silence_and_age_have_an_end(authority: Authority, tmp_path: Any) -> None:
    """A connection that is kept alive ends when it is idle too long, and when it is old."""
    async with _small(authority, tmp_path, idle_s=1.0) as (port, _):
        raw = await _open(authority, port)
        await raw.send(GOOD)
        assert await raw.status() == 200
        idle = await raw.ends(10)
    async with _small(authority, tmp_path, age_s=1.0, idle_s=3600) as (port, _):
        raw = await _open(authority, port)
        await raw.send(GOOD)
        assert await raw.status() == 200
        old = await raw.ends(10)

    assert (idle, old) == (True, True)


async def test_h07_a_connection_in_its_time_goes_on_negative_control(
    authority: Authority, tmp_path: Any
) -> None:
    """With time enough nothing ends it."""
    async with _small(authority, tmp_path, head_s=3600, idle_s=3600) as (port, _):
        raw = await _open(authority, port)
        await raw.send(GOOD[:9])

        ended = await raw.ends(2)
        await raw.send(GOOD[9:])
        status = await raw.status()

    assert (ended, status) == (False, 200)


async def test_h07_a_handshake_has_an_end(authority: Authority, tmp_path: Any) -> None:
    """Whoever connects and says nothing is gone after its time."""
    async with _small(authority, tmp_path, handshake_s=1.0) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        said = await asyncio.wait_for(reader.read(), 10)
        writer.close()

    assert said == b""


async def test_h07_idle_connections_give_way_and_busy_ones_do_not(
    authority: Authority, tmp_path: Any
) -> None:
    """A new caller takes the place of who has been idle longest, never of a request."""
    async with _small(authority, tmp_path, max_connections=4, max_per_address=4) as (port, served):
        busy = await _open(authority, port)
        await busy.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: _holds("/wait" in served), 10)
        idle = [await _open(authority, port) for _ in range(3)]
        for raw in idle:
            await raw.send(GOOD)
            assert await raw.status() == 200

        fresh = await _open(authority, port)
        await fresh.send(GOOD)
        status = await fresh.status()
        oldest_ended = await idle[0].ends(10)
        busy_ended = await busy.ends(1)

    assert (status, oldest_ended, busy_ended) == (200, True, False)


async def _holds(condition: bool) -> bool:
    return condition


async def test_h07_requests_come_at_a_bounded_pace(authority: Authority, tmp_path: Any) -> None:
    """What is too fast waits in its own connection, and costs nothing while it does."""
    async with _small(
        authority, tmp_path, requests_per_s=20.0, address_share=1.0
    ) as (port, served):  # fmt: skip
        raw = await _open(authority, port)
        begin = time.monotonic()
        await raw.send(GOOD * 60)
        for _ in range(60):
            assert await raw.status() == 200
        seconds = time.monotonic() - begin

    assert len(served) == 60
    assert seconds > 1.5


async def test_h07_without_a_pace_they_would_come_at_once_negative_control(
    authority: Authority, tmp_path: Any
) -> None:
    """The same requests with no bound are over long before."""
    async with _small(
        authority, tmp_path, requests_per_s=1e6, address_share=1.0
    ) as (port, served):  # fmt: skip
        raw = await _open(authority, port)
        begin = time.monotonic()
        await raw.send(GOOD * 60)
        for _ in range(60):
            assert await raw.status() == 200
        seconds = time.monotonic() - begin

    assert len(served) == 60
    assert seconds < 1.5


@asynccontextmanager
async def _flood(bed: TwinBed) -> AsyncIterator[Callable[[], int]]:
    """Let strangers do to the port whatever they can, until the block ends; count what they did."""
    done = 0
    context = client_context(bed.authority.pem)
    wrong = "Authorization: Bearer hfat_aaaaaaaaaaaa_" + "a" * 43

    async def requests() -> None:
        nonlocal done
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", bed.port, ssl=context, server_hostname="localhost"
                )
                writer.write(_post(CONTAIN, b"{}", wrong) + GOOD * 50)
                await writer.drain()
                while await reader.read(65536):
                    done += 1
                writer.transport.abort()
            except (OSError, ssl.SSLError):
                done += 1

    async def connections() -> None:
        nonlocal done
        held: list[socket.socket] = []
        while True:
            peer = socket.socket()
            peer.setblocking(False)
            peer.connect_ex(("127.0.0.1", bed.port))
            held.append(peer)
            done += 1
            if len(held) > 200:
                held.pop(0).close()
            await asyncio.sleep(0.002)

    tasks = [asyncio.create_task(requests()) for _ in range(12)]
    tasks += [asyncio.create_task(connections()) for _ in range(2)]
    try:
        yield lambda: done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_h07_a_flood_does_not_starve_the_lever(bed: TwinBed) -> None:
    """While the port is flooded, kills over gRPC are answered, each within seconds and in force."""
    names = [bed.fresh_agent() for _ in range(10)]
    slowest = 0.0
    async with bed.operator("alice") as alice, bed.agent(names[-1]) as agent:
        await alice.directives()
        async with _flood(bed) as count:
            await eventually(lambda: _holds(count() > 100), 30)
            for name in names:
                begin = time.monotonic()
                await alice.contain(name, timeout_s=5)
                slowest = max(slowest, time.monotonic() - begin)
            verdict = await agent.verdict()
            health = bed.health(bed.local_address, timeout_s=3)

    assert slowest < 3
    assert (verdict, health) == (KILLED, "SERVING")


async def test_h07_the_port_recovers_from_a_flood(bed: TwinBed) -> None:
    """When it is over, callers are served as before, and nothing is left open."""
    async with _flood(bed) as count:
        await eventually(lambda: _holds(count() > 100), 30)

    async with bed.json("alice") as client:

        async def is_served() -> bool:
            return (await client.call("AgentService/ListAgents")).status == 200

        await eventually(is_served, 15)

        async def is_closed() -> bool:
            return _open_files(bed) < 120

        await eventually(is_closed, 20)


async def test_g16_refused_strangers_are_counted_and_not_each_recorded(bed: TwinBed) -> None:
    """A stranger cannot fill the disk: some are recorded, the rest is a number."""
    async with bed.json() as stranger, bed.json("alice") as alice:
        for _ in range(60):
            await stranger.call("AgentService/ListAgents")
        log = await alice.call("AuditService/ListEntries", {"kind": "refused", "pageSize": 1000})

    entries = log.json["entries"]
    assert len(entries) < 60


async def test_slots_are_bounded_for_one_caller(bed: TwinBed) -> None:
    """Who asks for too much at once is told to come back, and the lever still answers them."""
    name = bed.fresh_agent()
    async with bed.json("bob") as client, bed.json("alice") as alice:
        kill = await client.send("POST", CONTAIN, _kill(name), Content_Type="application/json")
        epoch = kill.json["receipt"]["directive"]["epoch"]
        asked = await client.call(
            "ContainmentService/Release",
            {"requestId": new_id(), "epoch": epoch, "reason": "a test"},
        )
        wanted = {"name": asked.json["operation"]["name"], "wait": "5s"}
        answers = await asyncio.gather(
            *(client.call("OperationService/GetOperation", wanted) for _ in range(40)),
            alice.call("AgentService/ListAgents"),
        )

    statuses = [one.status for one in answers[:-1]]
    refused = next(one for one in answers if one.status == 429)
    assert (statuses.count(202), statuses.count(429)) == (32, 8)
    assert (refused.headers["Retry-After"], refused.code) == ("1", "resource_exhausted")
    assert answers[-1].status == 200


def _open_files(bed: TwinBed) -> int:
    import os

    assert bed.control is not None
    return len(os.listdir(f"/proc/{bed.control.pid}/fd"))


def test_h07_on_the_loop_that_control_really_runs(authority: Authority, tmp_path: Any) -> None:
    """uvloop, which a started control uses where it is installed: TLS, certificates, deadlines."""
    uvloop = pytest.importorskip("uvloop")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    certificate, key = authority.server().write(tmp_path, "server")

    async def handle(request: web.BaseRequest, peer: Peer) -> web.Response:
        return web.Response(status=200 if peer.certificate_pem else 401)

    async def run() -> tuple[int, int, bool, bool]:
        listener = Listener(
            handle=handle,
            refuse=lambda status: web.Response(status=status),
            tls=tls_context(certificate=certificate, key=key, client_ca=tmp_path / "ca.pem"),
            limits=Limits(head_s=1.0, handshake_s=1.0),
        )
        await listener.start("127.0.0.1", 0)
        known, stranger, slow = [
            Raw(
                *await asyncio.open_connection(
                    "127.0.0.1",
                    listener.port,
                    ssl=client_context(authority.pem, credential),
                    server_hostname="localhost",
                )
            )
            for credential in (authority.issue(uris=[spiffe("alice")]), None, None)
        ]
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        await known.send(GOOD)
        await stranger.send(GOOD)
        found = (
            await known.status(),
            await stranger.status(),
            await slow.ends(10),
            await asyncio.wait_for(reader.read(), 10) == b"",
        )
        await listener.aclose()
        for one in (known.writer, stranger.writer, slow.writer, writer):
            one.transport.abort()
        return found

    assert uvloop.run(run()) == (200, 401, True, True)
