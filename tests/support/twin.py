# SPDX-License-Identifier: Apache-2.0
"""The JSON port under test: a host that has one, a client of it, and a connection to write bytes on."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
from google.protobuf import json_format
from google.protobuf.message import Message

from sidecar.api.v1 import api_token_pb2, api_token_pb2_grpc
from tests.support.certificates import Credential
from tests.support.clients import new_id
from tests.support.processes import free_port
from tests.support.testbed import Testbed

__all__ = ["Answer", "Raw", "TwinBed", "TwinClient"]

_TIMEOUT = aiohttp.ClientTimeout(total=40)


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    text: str
    json: Any = field(default=None)

    @property
    def code(self) -> str:
        """The Connect code, or ``ok``."""
        return "ok" if self.status < 300 else str(self.json["code"])

    @property
    def reason(self) -> str:
        """The reason of the ``ErrorInfo``, if there is one."""
        details = (self.json or {}).get("details") or [{}]
        return str(details[0].get("debug", {}).get("reason", ""))


class TwinClient:
    """Calls the JSON port with a certificate, a token, both or neither."""

    def __init__(
        self, url: str, *, ca: bytes, credential: Credential | None = None, token: str = ""
    ) -> None:
        self._url = url
        self._tls = client_context(ca, credential)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def send(
        self, method: str, path: str, data: bytes | str | None = None, **headers: str
    ) -> Answer:
        """Send one request; underscores in names of *headers* are hyphens."""
        assert self._session is not None
        said = {**self._headers, **{n.replace("_", "-"): v for n, v in headers.items()}}
        async with self._session.request(
            method, self._url + path, data=data, headers=said, allow_redirects=False
        ) as response:
            text = await response.text()
            is_json = "json" in response.headers.get("Content-Type", "") and text
            return Answer(
                status=response.status,
                headers=response.headers.copy(),
                text=text,
                json=json.loads(text) if is_json else None,
            )

    async def get(self, path: str, **headers: str) -> Answer:
        """Read *path*."""
        return await self.send("GET", path, **headers)

    async def call(
        self, method: str, body: Mapping[str, Any] | Message | None = None, **headers: str
    ) -> Answer:
        """Call ``Service/Method``."""
        if isinstance(body, Message):
            body = json_format.MessageToDict(body)
        return await self.send(
            "POST",
            f"/sidecar.api.v1.{method}",
            json.dumps(body or {}),
            **{"Content-Type": "application/json", **headers},
        )


class Raw:
    """A TLS connection to write any bytes on."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Write *data*."""
        self.writer.write(data)
        await self.writer.drain()

    async def status(self, timeout_s: float = 20) -> int:
        """Return the status of the next answer, 0 if the connection ended instead."""
        try:
            async with asyncio.timeout(timeout_s):
                head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            return 0
        lines = head.decode("latin-1").lower().split("\r\n")
        sizes = [line.split(":")[1] for line in lines if line.startswith("content-length:")]
        if sizes:
            await self.reader.readexactly(int(sizes[0]))
        return int(lines[0].split()[1])

    async def ends(self, timeout_s: float = 20) -> bool:
        """Return whether the other side ends the connection in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while await self.reader.read(65536):
                    pass
        except TimeoutError:
            return False
        except (ConnectionError, ssl.SSLError):
            return True
        return True


class TwinBed(Testbed):
    """A host whose control has a JSON port."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.port = free_port()
        super().__init__(*args, **options)

    @property
    def url(self) -> str:
        """Where the JSON port is."""
        return f"https://127.0.0.1:{self.port}"

    def launch_control(self, **options: Any) -> Any:
        return super().launch_control(**{"api_listen": f"127.0.0.1:{self.port}", **options})

    def json(
        self, operator: str = "", *, token: str = "", credential: Credential | None = None
    ) -> TwinClient:
        """Return a client of the JSON port: as *operator* by certificate, by *token*, or both."""
        shown = self.credential(operator) if operator else credential
        return TwinClient(self.url, ca=self.authority.pem, credential=shown, token=token)

    async def token(self, operator: str, *permissions: str, **fields: Any) -> str:
        """Return the secret of a fresh API token."""
        async with self.operator("carol") as admin:
            stub: Any = api_token_pb2_grpc.ApiTokenServiceStub(admin.channel)
            answer = await stub.CreateApiToken(
                api_token_pb2.CreateApiTokenRequest(
                    request_id=new_id(),
                    operator=operator,
                    permissions=permissions,
                    description="made for a test",
                    **fields,
                ),
                timeout=10,
            )
        return str(answer.secret)

    @asynccontextmanager
    async def raw(self, operator: str = "", **options: Any) -> AsyncIterator[Raw]:
        """Open a TLS connection, with the certificate of *operator* if one is named."""
        credential = self.credential(operator) if operator else options.pop("credential", None)
        context = client_context(self.authority.pem, credential)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=context, server_hostname="localhost", **options
        )
        try:
            yield Raw(reader, writer)
        finally:
            writer.transport.abort()


def client_context(ca: bytes, credential: Credential | None = None) -> ssl.SSLContext:
    """Return how a client with *credential* speaks TLS to control."""
    context = ssl.create_default_context(cadata=ca.decode())
    if credential is not None:
        _load(context, credential)
    return context


def _load(context: ssl.SSLContext, credential: Credential) -> None:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as place:
        context.load_cert_chain(*credential.write(Path(place), "client"))
