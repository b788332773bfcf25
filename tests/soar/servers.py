# SPDX-License-Identifier: Apache-2.0
"""Servers that do wrong what servers do wrong: too slow, gone after the deed, or somebody else's.

Each has control's own kind of certificate, so that a client gets past TLS and meets the fault.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.support.certificates import SERVER, Authority, Credential

__all__ = ["DroppingProxy", "Impostor", "SlowServer"]

_ALPN: Final = ("h2", "http/1.1")
_PAUSE_S: Final = 0.2
_HEADERS_FRAME: Final = 1
_EMPTY_SETTINGS: Final = b"\0\0\0\4\0\0\0\0\0"


class _Server:
    """Accepts TLS connections on the loopback and hands each to ``serve`` in a thread."""

    def __init__(self, authority: Authority, *, credential: Credential | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.set_alpn_protocols(list(_ALPN))
        with tempfile.TemporaryDirectory() as place:
            chain, key = (credential or authority.server()).write(Path(place), "server")
            self._context.load_cert_chain(chain, key)
        self.connections = 0
        self._ended = threading.Event()
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        # Closing alone does not wake a thread that accepts.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            _close(connection)

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._one, args=(raw,), daemon=True).start()

    def _one(self, raw: socket.socket) -> None:
        raw.settimeout(30)
        try:
            connection = self._context.wrap_socket(raw, server_side=True)
        except (OSError, ssl.SSLError):
            _close(raw)
            return
        self._open.append(connection)
        try:
            self.serve(connection)
        except (OSError, ssl.SSLError):
            pass
        finally:
            _close(connection)

    def serve(self, connection: ssl.SSLSocket) -> None:
        """Deal with one connection."""
        raise NotImplementedError


class SlowServer(_Server):
    """Takes every request and never has an answer ready.

    Args:
        authority: Who signs its certificate.
        is_dripping: Send the head of an answer a byte at a time, so that no pause is ever as long
            as a time limit on silence; else say nothing at all. HTTP/2 gets its settings and then
            nothing.
    """

    def __init__(self, authority: Authority, *, is_dripping: bool = False) -> None:
        super().__init__(authority)
        self._is_dripping = is_dripping

    def serve(self, connection: ssl.SSLSocket) -> None:
        """Take what comes, and answer too slowly."""
        connection.recv(65_536)
        if connection.selected_alpn_protocol() == "h2":
            connection.sendall(_EMPTY_SETTINGS)
        elif self._is_dripping:
            text = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Slow: " + b"x" * 4096
            for byte in text:
                connection.sendall(bytes([byte]))
                if self._ended.wait(_PAUSE_S):
                    return
        self._ended.wait(120)


class Impostor(_Server):
    """Stands where control should, with a certificate that is not control's; keeps what it hears.

    Args:
        authority: Who signs its certificate.
        names: For whom.
    """

    def __init__(self, authority: Authority, *names: str) -> None:
        credential = authority.issue(dns=names, usage=SERVER) if names else None
        super().__init__(authority, credential=credential)
        self.heard = b""

    def serve(self, connection: ssl.SSLSocket) -> None:
        """Listen."""
        while data := connection.recv(65_536):
            self.heard += data


class DroppingProxy(_Server):
    """Passes requests on to control, and loses the first answers when control has done the deed.

    Args:
        authority: Who signs its certificate and control's.
        target: Control's address.
        drops: How many answers are lost.
    """

    def __init__(self, authority: Authority, target: str, *, drops: int = 1) -> None:
        super().__init__(authority)
        self._target = target
        self._left = drops
        self.dropped = 0
        self._lock = threading.Lock()
        self._upstream = ssl.create_default_context(cadata=authority.pem.decode())

    def serve(self, connection: ssl.SSLSocket) -> None:
        """Pass bytes on both ways until an answer is to be lost."""
        protocol = connection.selected_alpn_protocol()
        if protocol:
            self._upstream.set_alpn_protocols([protocol])
        host, _, port = self._target.rpartition(":")
        raw = socket.create_connection((host, int(port)), timeout=30)
        upstream = self._upstream.wrap_socket(raw, server_hostname=host)
        self._open.append(upstream)
        there = threading.Thread(target=_pump, args=(connection, upstream, None), daemon=True)
        there.start()
        watch = _Frames() if protocol == "h2" else _Anything()
        _pump(upstream, connection, lambda data: watch.is_answer(data) and self._loses())
        _close(upstream)
        _close(connection)
        there.join(5)

    def _loses(self) -> bool:
        with self._lock:
            if not self._left:
                return False
            self._left -= 1
            self.dropped += 1
            return True


class _Anything:
    """HTTP/1.1: whatever the server sends is an answer."""

    def is_answer(self, data: bytes) -> bool:
        return bool(data)


class _Frames:
    """HTTP/2: the first frame of headers on a stream of its own is an answer."""

    def __init__(self) -> None:
        self._left = b""
        self._skip = 0

    def is_answer(self, data: bytes) -> bool:
        found = False
        self._left += data
        while self._left:
            if self._skip:
                taken = min(self._skip, len(self._left))
                self._left, self._skip = self._left[taken:], self._skip - taken
                continue
            if len(self._left) < 9:
                break
            length = int.from_bytes(self._left[:3], "big")
            stream = struct.unpack(">I", self._left[5:9])[0] & 0x7FFFFFFF
            found |= self._left[3] == _HEADERS_FRAME and stream > 0
            self._left, self._skip = self._left[9:], length
        return found


def _pump(
    source: ssl.SSLSocket, sink: ssl.SSLSocket, is_lost: Callable[[bytes], bool] | None
) -> None:
    with contextlib.suppress(OSError, ssl.SSLError, ValueError):
        while data := source.recv(65_536):
            if is_lost is not None and is_lost(data):
                break
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


def _close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        connection.close()
