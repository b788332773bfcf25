# SPDX-License-Identifier: Apache-2.0
"""Protobuf and HTTP/2 by hand: bytes that no library would write."""

from __future__ import annotations

import asyncio
from pathlib import Path

import h2.config
import h2.connection
import h2.events

__all__ = ["RawAnswer", "field", "grpc_message", "raw_call", "varint"]


def varint(value: int, *, padding: int = 0) -> bytes:
    """Return *value* as a varint, made longer than it need be by *padding* bytes."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    for _ in range(padding):
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


def field(number: int, body: bytes | str, *, padding: int = 0) -> bytes:
    """Return a length-delimited field."""
    data = body.encode() if isinstance(body, str) else body
    return varint(number << 3 | 2) + varint(len(data), padding=padding) + data


def grpc_message(data: bytes) -> bytes:
    """Return *data* as one uncompressed gRPC message."""
    return b"\0" + len(data).to_bytes(4, "big") + data


class RawAnswer:
    """What came back on one stream."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_reset = False
        self.is_closed = False

    @property
    def grpc_status(self) -> str:
        """``grpc-status``, or empty."""
        return self.headers.get("grpc-status", "")


async def raw_call(
    socket: Path,
    path: str,
    body: bytes,
    *,
    method: str = "POST",
    headers: tuple[tuple[str, str], ...] = (
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ),
    deadline_s: float = 5.0,
) -> RawAnswer:
    """Send one request over HTTP/2 with exactly this path and return what came back."""
    answer = RawAnswer()
    reader, writer = await asyncio.open_unix_connection(socket)
    config = h2.config.H2Configuration(
        client_side=True,
        header_encoding="utf-8",
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
    )
    connection = h2.connection.H2Connection(config)
    try:
        async with asyncio.timeout(deadline_s):
            connection.initiate_connection()
            stream = connection.get_next_available_stream_id()
            connection.send_headers(
                stream,
                [
                    (":method", method),
                    (":scheme", "http"),
                    (":path", path),
                    (":authority", "localhost"),
                    *headers,
                ],
            )
            connection.send_data(stream, body, end_stream=True)
            while not answer.is_closed:
                writer.write(connection.data_to_send())
                data = await reader.read(65536)
                if not data:
                    answer.is_closed = True
                    break
                for event in connection.receive_data(data):
                    _take(event, connection, answer)
    finally:
        writer.close()
    return answer


def _take(
    event: h2.events.Event, connection: h2.connection.H2Connection, answer: RawAnswer
) -> None:
    match event:
        case h2.events.ResponseReceived() | h2.events.TrailersReceived():
            answer.headers.update(dict(event.headers or ()))
        case h2.events.DataReceived():
            answer.body += event.data or b""
            connection.acknowledge_received_data(
                event.flow_controlled_length or 0, event.stream_id or 0
            )
        case h2.events.StreamReset():
            answer.is_reset = answer.is_closed = True
        case h2.events.StreamEnded() | h2.events.ConnectionTerminated():
            answer.is_closed = True
