# SPDX-License-Identifier: Apache-2.0
"""Fetching keys from a server that is honest, broken or hostile (on loopback)."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gzip
import ipaddress
import json
import ssl

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sidecar.errors import (
    ConfigurationError,
    EnvironmentFailure,
    ErrorReason,
    UntrustedInputError,
)
from sidecar.tokens import jwks_http as http_module
from sidecar.tokens.jwks import MAX_SET_BYTES
from sidecar.tokens.jwks_http import JwksHttp


@pytest.fixture
async def serve():
    """Start a server for one handler; return its address."""
    stack = contextlib.AsyncExitStack()

    async def start(handler, *, ssl_context=None) -> str:
        app = web.Application()
        app.router.add_get("/{tail:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl_context)
        await site.start()
        port = runner.addresses[0][1]
        return f"{'https' if ssl_context else 'http'}://127.0.0.1:{port}/keys"

    async with stack:
        yield start


def fetcher(url: str, **changes) -> JwksHttp:
    return JwksHttp(**({"url": url, "issuer_name": "corp", "insecure_dev": True} | changes))


async def test_f11_published_keys_are_fetched(serve, idp):
    """A plain answer of 200 with a key set is read."""

    async def handler(request):
        return web.Response(body=idp.jwks("ed", "ec"), content_type="application/json")

    key_set = await fetcher(await serve(handler)).fetch()

    assert set(key_set.keys) == {"ed", "ec"}


async def test_f11_request_gives_nothing_away(serve, idp):
    """No cookie, no credential, no compression offered."""
    seen = []

    async def handler(request):
        seen.append(request.headers)
        response = web.Response(body=idp.jwks("ed"))
        response.set_cookie("track", "me")
        return response

    source = fetcher(await serve(handler))
    await source.fetch()
    await source.fetch()

    assert [headers.get("Accept-Encoding") for headers in seen] == ["identity"] * 2
    assert not any({"Cookie", "Authorization"} & set(headers) for headers in seen)


async def endless(request):
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(b" " * 65_536)
    return response


async def declared_huge(request):
    return web.Response(body=b" " * (MAX_SET_BYTES + 1))


async def compressed(request):
    body = gzip.compress(b" " * 10_000_000)
    return web.Response(body=body, headers={"Content-Encoding": "gzip"})


async def not_keys(request):
    return web.Response(text="<html>log in</html>")


@pytest.mark.parametrize("handler", [endless, declared_huge, compressed, not_keys])
async def test_f11_hostile_body_is_refused(serve, handler):
    """Endless, too large, compressed or foreign: refused, having read no more than the limit."""
    with pytest.raises(UntrustedInputError):
        await fetcher(await serve(handler)).fetch()


async def test_f11_size_negative_control(serve, idp, monkeypatch):
    """Without the limit, the large answer is taken whole."""
    big = json.dumps({"x": " " * MAX_SET_BYTES} | json.loads(idp.jwks("ed"))).encode()

    async def handler(request):
        return web.Response(body=big)

    url = await serve(handler)
    with pytest.raises(UntrustedInputError):
        await fetcher(url).fetch()
    monkeypatch.setattr(http_module, "MAX_SET_BYTES", 10**9)
    monkeypatch.setattr("sidecar.tokens.jwks.MAX_SET_BYTES", 10**9)

    assert (await fetcher(url).fetch()).keys


async def silent(request):
    await asyncio.Event().wait()


async def dribbling(request):
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.02)
    return response


@pytest.mark.parametrize("handler", [silent, dribbling])
async def test_f11_slow_answer_meets_its_deadline(serve, handler):
    """A server that says nothing, or a byte now and then, is given up on in time."""
    source = fetcher(await serve(handler), timeout_s=0.3)

    async with asyncio.timeout(5):
        with pytest.raises(EnvironmentFailure) as caught:
            await source.fetch()

    assert caught.value.reason is ErrorReason.DEADLINE


async def test_f11_redirect_is_not_followed(serve, idp):
    """Whoever redirects us, also to good keys, gets an error."""

    async def handler(request):
        if request.path == "/keys":
            raise web.HTTPFound("/elsewhere")
        return web.Response(body=idp.jwks("ed"))

    with pytest.raises(EnvironmentFailure, match="answered 302"):
        await fetcher(await serve(handler)).fetch()


async def test_f11_redirect_negative_control(serve, idp, monkeypatch):
    """A client that follows redirects reads whatever keys it is sent to."""
    get = http_module.aiohttp.ClientSession.get

    def following(session, url, **options):
        return get(session, url, **(options | {"allow_redirects": True}))

    async def handler(request):
        if request.path == "/keys":
            raise web.HTTPFound("/elsewhere")
        return web.Response(body=idp.jwks("ed"))

    monkeypatch.setattr(http_module.aiohttp.ClientSession, "get", following)

    assert (await fetcher(await serve(handler)).fetch()).keys


@pytest.mark.parametrize("status", [204, 401, 404, 500])
async def test_f11_other_status_is_unavailable(serve, idp, status):
    """Only 200 brings keys, whatever the body holds."""

    async def handler(request):
        return web.Response(status=status, body=idp.jwks("ed") if status != 204 else None)

    with pytest.raises(EnvironmentFailure) as caught:
        await fetcher(await serve(handler)).fetch()

    assert caught.value.reason is ErrorReason.ISSUER_UNAVAILABLE


async def test_f11_issuer_that_is_down_is_unavailable(serve, idp):
    """A refused connection is an environment failure that does not quote the address."""

    async def handler(request):
        return web.Response(body=idp.jwks("ed"))

    url = await serve(handler)
    closed = url.replace(url.rpartition(":")[2], "1/secret-path")

    with pytest.raises(EnvironmentFailure) as caught:
        await fetcher(closed).fetch()

    assert "secret-path" not in str(caught.value)


async def test_f11_proxy_of_the_environment_is_ignored(serve, idp, monkeypatch):
    """An http_proxy variable cannot put itself between us and the issuer."""

    async def handler(request):
        return web.Response(body=idp.jwks("ed"))

    url = await serve(handler)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    assert (await fetcher(url).fetch()).keys


def certificate(directory):
    """Return a server's TLS context with a certificate that only itself vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp.test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context, made.public_bytes(serialization.Encoding.PEM).decode()


async def test_f11_https_verifies_the_server(serve, idp, tmp_path):
    """A certificate nobody vouches for is refused; with its CA given, the keys are read."""
    context, ca = certificate(tmp_path)

    async def handler(request):
        return web.Response(body=idp.jwks("ed"))

    url = await serve(handler, ssl_context=context)
    trusting = fetcher(url, insecure_dev=False, ssl_context=ssl.create_default_context(cadata=ca))

    with pytest.raises(EnvironmentFailure, match="Certificate"):
        await fetcher(url, insecure_dev=False).fetch()
    assert (await trusting.fetch()).keys


def test_f11_context_that_verifies_nothing_is_misuse():
    """There is no way to switch verification off."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    with pytest.raises(ValueError):
        fetcher("https://idp.example/keys", ssl_context=context)


BAD_URLS = [
    "",
    "http://idp.example/keys",
    "http://localhost/keys",
    "http://127.0.0.1.evil.example/keys",
    "http://10.0.0.1/keys",
    "ftp://idp.example/keys",
    "file:///etc/keys",
    "HTTPS://idp.example/keys",
    "//idp.example/keys",
    "https:///keys",
    "https://user:pass@idp.example/keys",
    "https://idp.example/keys#x",
    "https://idp.example/ke ys",
    "https://idp.exam\tple/keys",
    "https://idp.example/keys\n",
    "https://idp.example\\@evil.example/keys",
    "https://idp.example:0/keys",
    "https://idp.example:65536/keys",
    "https://idp.example:http/keys",
    "https://[::1/keys",
    "https://ïdp.example/keys",
    "https://idp.example/" + "x" * 2048,
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_f11_bad_address_is_a_configuration_error(url):
    """Not https, not plain, or not one address: refused at start, also in development."""
    with pytest.raises(ConfigurationError) as caught:
        fetcher(url)

    assert "pass" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/keys", "http://[::1]/keys"])
def test_f11_plain_http_needs_loopback_and_development(url):
    """A loopback literal passes in development mode and nowhere else."""
    fetcher(url, insecure_dev=True)

    with pytest.raises(ConfigurationError):
        fetcher(url, insecure_dev=False)
