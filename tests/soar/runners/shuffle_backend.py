# SPDX-License-Identifier: Apache-2.0
"""A backend for Shuffle's apps, a few lines long: it knows executions and takes results."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Backend"]


class Backend:
    """What an app asks for its execution, and tells its result."""

    def __init__(self) -> None:
        self.executions: dict[str, Mapping[str, Any]] = {}
        self.results: dict[str, list[dict[str, Any]]] = {}
        backend = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                body = json.loads(self.rfile.read(length))
                answer: Mapping[str, Any] = {"success": True}
                if self.path == "/api/v1/streams/results":
                    answer = backend.executions[body["execution_id"]]
                else:
                    backend.results.setdefault(body["execution_id"], []).append(body)
                sent = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
