# SPDX-License-Identifier: Apache-2.0
"""An HTTPS server that answers as it is told, also badly."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.certificates import Authority, Credential

Behaviour = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One request, and the ways to answer it."""

    protocol_version = "HTTP/1.1"
    server: Any

    def do_POST(self) -> None:
        self.seen = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server: Server = self.server.owner
        server.requests.append((self.path, dict(self.headers), self.seen))
        at = min(len(server.requests), len(server.behaviours)) - 1
        server.behaviours[at](self)

    def do_CONNECT(self) -> None:
        self.server.owner.requests.append((self.path, dict(self.headers), {}))
        self.server.owner.tunnel(self)

    def answer(
        self,
        status: int,
        body: bytes | Mapping[str, Any],
        content_type: str = "application/json",
        **headers: str,
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass
class Server:
    """A running server: what it was asked, and where it is."""

    port: int = 0
    behaviours: list[Behaviour] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    tunnel: Behaviour = lambda _: None
    stopped: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving(
    authority: Authority,
    directory: Path,
    *behaviours: Behaviour,
    credential: Credential | None = None,
    is_plain: bool = False,
    wants_client: Authority | None = None,
    tunnel: Behaviour = lambda _: None,
) -> Iterator[Server]:
    """Serve *behaviours*, one a request, the last for all that follow."""
    server = Server(behaviours=list(behaviours), tunnel=tunnel)
    http = ThreadingHTTPServer(("127.0.0.1", 0), Request)
    http.daemon_threads = True
    http.owner = server  # type: ignore[attr-defined]
    http.handle_error = lambda *_: None  # type: ignore[method-assign]
    if not is_plain:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*(credential or authority.server()).write(directory, "server"))
        if wants_client is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=wants_client.pem.decode())
        http.socket = context.wrap_socket(http.socket, server_side=True)
    server.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        http.shutdown()
        http.server_close()
        thread.join()
