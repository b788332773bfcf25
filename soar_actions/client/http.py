# SPDX-License-Identifier: Apache-2.0
"""The JSON twin of control's API, over nothing but the standard library.

Laws:

1. TLS from end to end, also through a proxy (CONNECT), and a redirect is an error.
2. An attempt ends at its deadline by the clock on the wall, even if a server sends a byte a second
   or the name service hangs: it runs in a thread of its own, which is left behind and sends nothing
   any more.
3. The credential is in a header, never in a URL, in no error, and in no trace of ``http.client``.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from soar_actions.client.answer import MAX_ANSWER, Answer, data_of
from soar_actions.client.connection import Connection
from soar_actions.client.retry import MAX_ATTEMPTS, with_retries
from soar_actions.client.tls import tls_context, tls_error
from soar_actions.errors import ActionError, ErrorClass
from soar_actions.steps import Call

__all__ = ["HttpTransport"]

_PACKAGE: Final = "sidecar.api.v1"
_USER_AGENT: Final = "holdfast-soar/1"


class HttpTransport:
    """Calls of one action, which share its time; use as ``with``.

    Args:
        connection: Where to, and as whom.
        total_s: Longest time of all calls together, from the first, retries included.
    """

    def __init__(self, connection: Connection, *, total_s: float) -> None:
        self._connection = connection
        self._total_s = total_s
        self._deadline: float | None = None
        self._is_down = False
        self._context: ssl.SSLContext | None = None

    def __enter__(self) -> HttpTransport:
        return self

    def __exit__(self, *_: object) -> None:
        self._context = None

    def send(self, call: Call) -> Mapping[str, Any]:
        """Return the answer to *call*; raises ``ActionError`` as ``Transport`` says."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self._total_s
        if self._context is None:
            self._context = tls_context(self._connection)
        context = self._context
        try:
            answer = with_retries(
                lambda seconds: _Attempt(self._connection, context, call, seconds).run(),
                attempt_s=self._connection.timeout_s + call.patience_s,
                deadline=self._deadline,
                max_attempts=1 if self._is_down else MAX_ATTEMPTS,
            )
        except ActionError as exc:
            # What was down four times is asked once for each further call of the action.
            self._is_down = exc.is_retryable
            raise
        self._is_down = False
        return answer


class _Attempt:
    """One request (law 2)."""

    def __init__(
        self, connection: Connection, context: ssl.SSLContext, call: Call, seconds: float
    ) -> None:
        self._connection = connection
        self._call = call
        self._seconds = seconds
        self._http = _http_connection(connection, context, seconds)
        self._socket: socket.socket | None = None
        self._is_late = False
        self._answer: Answer | None = None
        self._error: BaseException | None = None

    def run(self) -> Mapping[str, Any]:
        thread = threading.Thread(target=self._work, name="holdfast-soar", daemon=True)
        thread.start()
        thread.join(self._seconds)
        if thread.is_alive():
            self._is_late = True
            self._hang_up()
            raise _late()
        if self._error is not None:
            raise _failure(self._error) from None  # its text can name what the asset holds
        if self._answer is None:
            raise _failure(OSError())
        return data_of(self._answer)

    def _work(self) -> None:
        try:
            self._answer = self._ask()
        except BaseException as exc:  # noqa: BLE001 - it is handed to the thread that waits
            self._error = exc
        finally:
            self._http.close()

    def _ask(self) -> Answer:
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Connect-Protocol-Version": "1",
            "Connect-Timeout-Ms": str(max(1, int(self._seconds * 1000))),
            "Connection": "close",
            "Content-Type": "application/json",
            "User-Agent": _USER_AGENT,
        }
        if self._connection.api_token:
            headers["Authorization"] = f"Bearer {self._connection.api_token.reveal()}"
        body = json.dumps(self._call.body, ensure_ascii=True, allow_nan=False).encode("ascii")
        self._http.connect()
        self._socket = self._http.sock  # later the response may have taken it
        if self._is_late:
            raise TimeoutError
        self._http.request("POST", f"/{_PACKAGE}.{self._call.method}", body=body, headers=headers)
        response = self._http.getresponse()
        content = response.read(MAX_ANSWER + 1)
        if response.length and len(content) <= MAX_ANSWER:
            raise http.client.IncompleteRead(content)  # it broke off: it is not known what was done
        return Answer(
            status=response.status,
            content_type=response.getheader("Content-Type", ""),
            content_encoding=response.getheader("Content-Encoding", ""),
            body=content,
        )

    def _hang_up(self) -> None:
        """End what the thread waits for, so that it does not stay for long."""
        held = self._socket or self._http.sock
        if held is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(held, socket.SHUT_RDWR)


def _http_connection(
    connection: Connection, context: ssl.SSLContext, seconds: float
) -> http.client.HTTPSConnection:
    proxy = connection.proxy.reveal() or _environment_proxy(connection)
    if not proxy:
        return _quiet(connection.host, connection.port, seconds, context)
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    try:
        port = parts.port or 80
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or not port:
        raise ActionError(
            ErrorClass.BAD_INPUT,
            "the proxy of the environment is not of the form http://host:port",
            reason="BAD_SETTING",
            remedy="set HTTPS_PROXY to one that takes CONNECT, or the asset's proxy",
        )
    headers = {}
    if parts.username:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(login).decode()}"
    made = _quiet(parts.hostname, port, seconds, context)
    made.set_tunnel(connection.host, connection.port, headers)
    return made


def _quiet(
    host: str, port: int, seconds: float, context: ssl.SSLContext
) -> http.client.HTTPSConnection:
    """Return a connection that prints nothing, also where a platform traces all of ``http.client``."""
    made = http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
    made.set_debuglevel(0)
    return made


def _environment_proxy(connection: Connection) -> str:
    proxies = getproxies_environment()
    proxy = proxies.get("https") or proxies.get("all") or ""
    if proxy and proxy_bypass(connection.address):
        return ""
    return proxy


def _failure(exc: BaseException) -> ActionError:
    if isinstance(exc, ActionError):
        return exc
    if isinstance(exc, ssl.SSLError) and not isinstance(exc, ssl.SSLEOFError):
        return tls_error(exc)
    if isinstance(exc, (TimeoutError, socket.timeout)):
        return _late()
    if isinstance(exc, socket.gaierror):
        return ActionError(ErrorClass.UNAVAILABLE, "control's host name was not found")
    if isinstance(exc, ConnectionRefusedError):
        return ActionError(ErrorClass.UNAVAILABLE, "control could not be reached: refused")
    if isinstance(exc, OSError) and str(exc).startswith("Tunnel connection failed"):
        return ActionError(
            ErrorClass.UNAVAILABLE, "the proxy would not connect to control", reason="PROXY"
        )
    if isinstance(exc, (OSError, http.client.HTTPException)):
        return ActionError(ErrorClass.UNAVAILABLE, "the connection to control broke")
    if isinstance(exc, ValueError):
        return ActionError(
            ErrorClass.BAD_INPUT, "the request cannot be written as JSON", reason="MALFORMED"
        )
    return ActionError(ErrorClass.FAILED, f"the client failed: {type(exc).__name__}")


def _late() -> ActionError:
    return ActionError(ErrorClass.UNAVAILABLE, "control did not answer in time", reason="DEADLINE")
