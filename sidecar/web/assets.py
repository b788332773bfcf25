# SPDX-License-Identifier: Apache-2.0
"""The console's own style sheet, scripts and icon.

Laws: the files are read once, at start; a request can name one of them and no path; their addresses
carry their hash, so a browser keeps them and a new version is a new address. They are public.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from aiohttp import web

__all__ = ["Assets"]

_DIRECTORY: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_HASH_HEX: Final = 16
_KEPT: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _File:
    data: bytes
    content_type: str
    digest: str


class Assets:
    """Serves ``/static/<name>``."""

    def __init__(self, directory: Path = _DIRECTORY) -> None:
        self._files: dict[str, _File] = {}
        for path in sorted(directory.iterdir()):
            content_type = _TYPES.get(path.suffix)
            if content_type is not None and path.is_file():
                data = path.read_bytes()
                digest = sha256(data).hexdigest()[:_HASH_HEX]
                self._files[path.name] = _File(data, content_type, digest)

    def url(self, name: str) -> str:
        """Return the address of *name*; raises ``KeyError`` if there is no such file."""
        return f"/static/{name}?v={self._files[name].digest}"

    async def get(self, request: web.Request) -> web.Response:
        """Answer ``GET /static/{name}``."""
        file = self._files.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        is_current = request.query.get("v") == file.digest
        headers = {"Cache-Control": _KEPT if is_current else "no-cache"}
        return web.Response(
            body=file.data, content_type=file.content_type, charset="utf-8", headers=headers
        )
