# SPDX-License-Identifier: Apache-2.0
"""The signed webhook, and how everything that speaks HTTP treats what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import time
from pathlib import Path

import pytest
from aiohttp import web

from sidecar.clock import ManualClock
from sidecar.notify import endpoint as endpoint_module
from sidecar.notify import signature as signature_module
from sidecar.notify.channel import DeliveryError, Fault
from sidecar.notify.encoding import notice_id
from sidecar.notify.endpoint import MAX_ANSWER_BYTES, Endpoint, check_address
from sidecar.notify.notice import NoticeKind
from sidecar.notify.secret import Secret
from sidecar.notify.signature import sign, verify_signature
from sidecar.notify.webhook import WebhookChannel
from tests.unit.notify.notify_kit import CANARY, HOSTILE, INVISIBLE, OPENED, notice, outcome

NOW_S = 1_760_000_000
OLD, NEW = Secret("old-secret-of-at-least-24-bytes"), Secret("new-secret-of-at-least-24-bytes")


def webhook(url: str, *, secrets=(NEW,), timeout_s: float = 5.0, **options) -> WebhookChannel:
    clock = ManualClock()
    ca_file = options.pop("ca_file", None)
    endpoint = Endpoint(address=Secret(url), clock=clock, ca_file=ca_file, timeout_s=timeout_s)
    return WebhookChannel(name="soc", endpoint=endpoint, secrets=secrets, clock=clock, **options)


def verified(heard, *secrets: Secret, now_s: float = NOW_S, **changes) -> bool:
    """Verify *heard* as a receiver does."""
    arguments = {
        "notice_id": heard.headers["Holdfast-Id"],
        "timestamp": heard.headers["Holdfast-Timestamp"],
        "signature": heard.headers["Holdfast-Signature"],
        "body": heard.body,
    } | changes
    return verify_signature(secrets=secrets, now_s=now_s, **arguments)


async def failure(channel: WebhookChannel) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await channel.send(OPENED, None)
    return caught.value


# -- what is posted -------------------------------------------------------------------------------


async def test_the_body_is_the_documented_one(serve):
    """Version, type, and the approval with everything but mail addresses."""
    host = await serve()
    handle = await webhook(host.url + "/hook?x=%2F1").send(OPENED, None)
    (heard,) = host.heard

    assert handle == ""
    assert heard.path == "/hook?x=%2F1"
    assert heard.headers["Content-Type"] == "application/json"
    assert heard.json == {
        "version": 1,
        "id": notice_id(OPENED),
        "type": "approval.opened",
        "text": f"Approval needed [HIGH]: {OPENED.summary}",
        "detail": "",
        "approval": {
            "name": "approvals/apr_0001",
            "state": "PENDING",
            "tier": "HIGH",
            "summary": OPENED.summary,
            "reason": OPENED.reason,
            "agent": "billing-bot",
            "tool": "payments.refund",
            "fingerprint_words": OPENED.words,
            "create_time": "2025-10-09T08:53:20Z",
            "expire_time": "2025-10-09T09:53:20Z",
            "approvers": ["alice", "bob"],
            "url": OPENED.url,
            "command": OPENED.command,
        },
    }
    assert b"@example.test" not in heard.body


async def test_an_outcome_and_an_alert_have_their_own_types(serve):
    """A receiver tells them apart by ``type``; an alert may be about no approval."""
    host = await serve()
    channel = webhook(host.url)
    await channel.send(outcome(), "")
    await channel.send(notice(NoticeKind.ALERT, summary="mail is down"), None)

    first, second = (heard.json for heard in host.heard)
    assert (first["type"], first["approval"]["state"]) == ("approval.decided", "GRANTED")
    assert first["detail"] == "granted by alice on the console"
    assert second["type"] == "alert"


async def test_d15_hostile_words_stay_words_in_the_body(serve):
    """What nobody sees is escaped before it is JSON, so every receiver's screen is spared."""
    host = await serve()
    await webhook(host.url).send(notice(summary=HOSTILE, detail=HOSTILE, agent=HOSTILE), None)
    texts = json.dumps(host.heard[0].json, ensure_ascii=False)

    assert not set(INVISIBLE) & set(texts)


# -- the signature --------------------------------------------------------------------------------


async def test_the_signature_verifies_and_the_id_stays_the_same_at_every_attempt(serve):
    """The same notice has the same id, so that a repetition is known as one."""
    host = await serve()
    channel = webhook(host.url)
    await channel.send(OPENED, None)
    await channel.send(OPENED, None)
    first, second = host.heard

    assert verified(first, NEW)
    assert verified(second, NEW)
    assert first.headers["Holdfast-Id"] == second.headers["Holdfast-Id"]
    assert first.body == second.body


async def test_any_change_of_what_was_signed_is_found(serve):
    """Body, id, time and signature: one byte elsewhere and it is not ours."""
    host = await serve()
    await webhook(host.url).send(OPENED, None)
    (heard,) = host.heard
    timestamp = heard.headers["Holdfast-Timestamp"]

    assert not verified(heard, NEW, body=heard.body + b" ")
    assert not verified(heard, NEW, notice_id="ntc_0")
    assert not verified(heard, NEW, timestamp=str(int(timestamp) + 1))
    assert not verified(heard, NEW, signature=heard.headers["Holdfast-Signature"][:-1] + "g")
    assert not verified(heard, NEW, signature="")
    assert not verified(heard, NEW, signature="v1=")
    assert not verified(heard, NEW, signature=heard.headers["Holdfast-Signature"][3:])
    assert not verified(heard, OLD)
    assert not verified(heard)


async def test_any_change_of_what_was_signed_is_found_negative_control(serve, monkeypatch):
    """With a comparison that says yes, the changed body passes."""
    host = await serve()
    await webhook(host.url).send(OPENED, None)
    monkeypatch.setattr(signature_module.hmac, "compare_digest", lambda *_: True)

    assert verified(host.heard[0], NEW, body=b"{}")


async def test_a_replay_is_refused_after_five_minutes_and_known_by_its_id_before(serve):
    """Older or from further ahead than the tolerance is refused; what is younger has a known id."""
    host = await serve()
    await webhook(host.url).send(OPENED, None)
    (heard,) = host.heard

    assert verified(heard, NEW, now_s=NOW_S + 300)
    assert verified(heard, NEW, now_s=NOW_S - 300)
    assert not verified(heard, NEW, now_s=NOW_S + 300.001)
    assert not verified(heard, NEW, now_s=NOW_S - 300.001)
    assert heard.headers["Holdfast-Id"] == notice_id(OPENED)


@pytest.mark.parametrize("timestamp", ["", "+1760000000", "1_760_000_000", "1e9", "١٧", "nan"])
def test_a_time_is_digits(timestamp):
    """What Python would read as a number and others would not is no time."""
    mac = sign(secrets=(NEW,), notice_id="a", timestamp_s=NOW_S, body=b"")

    assert not verify_signature(
        secrets=(NEW,), notice_id="a", timestamp=timestamp, signature=mac, body=b"", now_s=NOW_S
    )


def test_an_id_has_no_dot_so_one_text_has_one_reading():
    """``a`` + ``1.2…`` must not verify as ``a.1`` + ``2…``."""
    mac = sign(secrets=(NEW,), notice_id="a", timestamp_s=NOW_S, body=f"{NOW_S}.x".encode())

    assert not verify_signature(
        secrets=(NEW,), notice_id=f"a.{NOW_S}", timestamp=str(NOW_S), signature=mac, body=b"x",
        now_s=NOW_S,
    )  # fmt: skip


async def test_the_documented_receiver_verifies(serve, monkeypatch):
    """The snippet of ``deploy/notifications.md``, as it stands there."""
    page = (Path(__file__).parents[3] / "deploy" / "notifications.md").read_text()
    names: dict = {}
    exec(page.split("```python\n", 1)[1].split("```", 1)[0], names)
    is_ours = names["is_ours"]
    host = await serve()
    await webhook(host.url, secrets=(NEW, OLD)).send(OPENED, None)
    (heard,) = host.heard
    monkeypatch.setattr(time, "time", lambda: NOW_S)

    assert is_ours(heard.headers, heard.body, [OLD.reveal()])
    assert is_ours(heard.headers, heard.body, ["other", NEW.reveal()])
    assert not is_ours(heard.headers, heard.body, ["other"])
    assert not is_ours(heard.headers, heard.body + b" ", [NEW.reveal()])
    monkeypatch.setattr(time, "time", lambda: NOW_S + 301)
    assert not is_ours(heard.headers, heard.body, [NEW.reveal()])


async def test_while_a_secret_is_replaced_both_sign(serve):
    """A receiver that knows only the old or only the new one accepts; one that knows neither not."""
    host = await serve()
    await webhook(host.url, secrets=(NEW, OLD)).send(OPENED, None)
    (heard,) = host.heard

    assert verified(heard, OLD)
    assert verified(heard, NEW)
    assert verified(heard, Secret("other"), OLD)
    assert not verified(heard, Secret("other"))


def test_a_webhook_without_a_secret_is_misuse():
    """Nothing unsigned is ever posted."""
    with pytest.raises(ValueError, match="secret"):
        webhook("http://127.0.0.1:1", secrets=())


# -- probes ---------------------------------------------------------------------------------------


async def test_a_probe_only_connects_unless_pings_are_wanted(serve):
    """Receivers that act on every POST are not bothered every half minute."""
    host = await serve()
    await webhook(host.url).probe()
    assert host.heard == []

    await webhook(host.url, is_pinged=True).probe()
    assert host.heard[0].json == {"version": 1, "id": "ping", "type": "ping"}
    assert verified(host.heard[0], NEW)


async def test_a_probe_of_nobody_fails(free_port):
    """Known before the first call is held."""
    with pytest.raises(DeliveryError) as caught:
        await webhook(f"http://127.0.0.1:{free_port}").probe()

    assert caught.value.fault is Fault.UNREACHABLE


# -- what comes back ------------------------------------------------------------------------------


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (400, Fault.REJECTED),
        (413, Fault.REJECTED),
        (422, Fault.REJECTED),
        (401, Fault.REFUSED),
        (403, Fault.REFUSED),
        (404, Fault.REFUSED),
        (410, Fault.REFUSED),
        (408, Fault.BROKEN),
        (429, Fault.BUSY),
        (500, Fault.BROKEN),
        (503, Fault.BROKEN),
    ],
)
async def test_what_a_status_means(serve, status, fault):
    """Each says whether to try again, and whether anything else would get through."""

    async def answer(request):
        return web.Response(status=status, text=CANARY)

    error = await failure(webhook((await serve(answer)).url))

    assert error.fault is fault
    assert str(status) in str(error)
    assert CANARY not in str(error)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("17", 17),
        ("Thu, 09 Oct 2025 08:53:50 GMT", 30),
        ("Thu, 09 Oct 2025 08:00:00 GMT", 0),
        ("soon", 0),
        ("-5", 0),
        ("1e9", 0),
    ],
)
async def test_retry_after_is_read_in_both_forms(serve, value, seconds):
    """Seconds or a date; anything else is none."""

    async def answer(request):
        return web.Response(status=429, headers={"Retry-After": value})

    assert (await failure(webhook((await serve(answer)).url))).retry_after_s == seconds


async def test_a_redirect_is_not_followed(serve):
    """It would carry message and signature to whoever can make our receiver redirect."""
    elsewhere = await serve()

    async def answer(request):
        raise web.HTTPTemporaryRedirect(elsewhere.url)

    error = await failure(webhook((await serve(answer)).url))

    assert error.fault is Fault.REFUSED
    assert "redirects are not followed" in str(error)
    assert elsewhere.heard == []


async def test_a_redirect_is_not_followed_negative_control(serve, monkeypatch):
    """Let the client follow it, and the message does arrive elsewhere."""
    elsewhere = await serve()

    async def answer(request):
        raise web.HTTPTemporaryRedirect(elsewhere.url)

    real = endpoint_module.aiohttp.ClientSession.post
    monkeypatch.setattr(
        endpoint_module.aiohttp.ClientSession,
        "post",
        lambda self, url, **options: real(self, url, **(options | {"allow_redirects": True})),
    )
    await webhook((await serve(answer)).url).send(OPENED, None)

    assert len(elsewhere.heard) == 1


async def test_an_answer_without_end_is_cut(serve):
    """At most 64 KiB are read, then the connection is closed; the status stands."""
    written = 0

    async def answer(request):
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while written < 50_000_000:
                await response.write(b"x" * 65_536)
                written += 65_536
        return response

    host = await serve(answer)
    endpoint = Endpoint(address=Secret(host.url), clock=ManualClock())
    found = await endpoint.post(b"{}", headers={})

    assert found.status == 200
    assert len(found.body) == MAX_ANSWER_BYTES
    assert written < 50_000_000


async def test_a_server_that_never_answers_is_given_up(serve):
    """Every attempt has a deadline."""

    async def answer(request):
        await asyncio.Event().wait()

    error = await failure(webhook((await serve(answer)).url, timeout_s=0.1))

    assert error.fault is Fault.BROKEN
    assert "no answer within 0.1 s" in str(error)


async def test_no_proxy_of_the_environment_is_used(serve, monkeypatch):
    """Whoever sets a variable does not get the messages."""
    proxy, host = await serve(), await serve()
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    monkeypatch.delenv("no_proxy", raising=False)
    await webhook(host.url).send(OPENED, None)

    assert proxy.heard == []
    assert len(host.heard) == 1


async def test_p9_no_error_shows_the_address(serve, free_port):
    """The address may be a capability: neither its path, nor its port, in no error and no chain."""

    async def close(request):
        request.transport.close()
        return web.Response()

    host = await serve(close)
    addresses = [
        f"http://127.0.0.1:{free_port}/{CANARY}?sig={CANARY}",
        f"{host.url}/{CANARY}",
        f"https://{CANARY}.invalid/{CANARY}",
    ]
    errors = [await failure(webhook(address)) for address in addresses]

    for error in errors:
        assert CANARY not in f"{error} {error!r} {error.__cause__!r} {error.args}"
        assert error.__cause__ is None
        assert str(free_port) not in str(error)


# -- TLS ------------------------------------------------------------------------------------------


async def test_a_private_ca_is_trusted_when_it_is_named(serve, server_tls):
    """And only then: the system does not know it."""
    context, ca_file = server_tls
    host = await serve(tls=context)
    await webhook(host.url, ca_file=ca_file).send(OPENED, None)
    error = await failure(webhook(host.url))

    assert len(host.heard) == 1
    assert error.fault is Fault.UNREACHABLE
    assert "certificate does not verify" in str(error)
    assert "ca_file" in error.hint


async def test_a_private_ca_is_trusted_when_it_is_named_negative_control(
    serve, server_tls, monkeypatch
):
    """A context that verifies nothing would have sent to anybody."""
    context, _ = server_tls
    host = await serve(tls=context)
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE
    monkeypatch.setattr(endpoint_module, "tls_context", lambda ca_file: blind)
    await webhook(host.url).send(OPENED, None)

    assert len(host.heard) == 1


async def test_a_probe_verifies_too(serve, server_tls):
    """A probe that took any certificate would call a stranger up."""
    context, ca_file = server_tls
    host = await serve(tls=context)
    await webhook(host.url, ca_file=ca_file).probe()

    with pytest.raises(DeliveryError, match="certificate"):
        await webhook(host.url).probe()


@pytest.mark.parametrize(
    "address",
    [
        "http://hooks.example.com/x",
        "http://localhost/x",
        "http://127.0.0.1.example.com/x",
        "ftp://127.0.0.1/x",
        "https://user:pass@host/x",
        "https://host/x#y",
        "https://host/x y",
        "https://host/x\r\nHost: evil",
        "https://host:0/",
        "https://host:99999/",
        "https://[::1/",
        "https://",
        "",
        "https://host/" + "x" * 3000,
    ],
)
def test_an_address_that_is_not_plain_https_is_refused_without_being_quoted(address):
    """Plain http is for a loopback literal alone: a name may lead anywhere."""
    with pytest.raises(ValueError, match="https") as caught:
        check_address(address)
    with pytest.raises(ValueError, match="https"):
        Endpoint(address=Secret(address), clock=ManualClock())

    assert "example.com" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["https://h.example.com/a?b=%2F", "http://127.0.0.1:1/x", "http://[::1]:1/x"]
)
def test_a_plain_address_is_taken(address):
    """The other side of the rule above."""
    check_address(address)
