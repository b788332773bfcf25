# SPDX-License-Identifier: Apache-2.0
"""Where control is, and with which credential: what a platform calls an asset or an instance.

Laws:

1. Always TLS, always verified. There is no setting that weakens it, and an asset that holds one is
   refused rather than obeyed or ignored.
2. The endpoint is a host and a port: no path, no query, no credential in it.
3. What is secret shows itself to nobody: not in ``repr``, not in an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from soar_actions.client.secret import Secret
from soar_actions.errors import ActionError, ErrorClass

__all__ = ["SETTINGS", "Connection"]

SETTINGS: Final = (
    "endpoint",
    "api_token",
    "ca_certificate",
    "client_certificate",
    "client_key",
    "timeout_seconds",
    "proxy",
)
"""Every setting that an asset may have."""
_DEFAULT_PORT: Final = 7445
_MAX_FILE: Final = 256 * 1024
_WEAKENS: Final = re.compile(r"verif|insecure|unsafe|ssl|tls|skip|trust|self_?signed", re.I)
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_HOST: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*|(?=.*:)[0-9A-Fa-f:.]{{2,45}}")
_TOKEN: Final = re.compile(r"[!-~]{1,512}")
_PEM: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.S)


@dataclass(frozen=True)
class Connection:
    """A control plane and the credential for it.

    Attributes:
        host: Name or address.
        port: Of the JSON twin of control's API.
        api_token: Secret of an API token; empty if there is a client certificate.
        ca_certificate: PEM of the CA that control's certificate is checked against, *instead of*
            those the system trusts; empty: those.
        client_certificate: PEM chain; empty if there is an API token.
        client_key: PEM of its private key.
        timeout_s: Longest time of one attempt.
        proxy: ``http://host:port``; empty: as the environment says.
    """

    host: str
    port: int = _DEFAULT_PORT
    api_token: Secret = field(default_factory=Secret)
    ca_certificate: str = field(default="", repr=False)
    client_certificate: str = field(default="", repr=False)
    client_key: Secret = field(default_factory=Secret)
    timeout_s: float = 10.0
    proxy: Secret = field(default_factory=Secret)
    """A secret, because it may hold a password."""

    @property
    def address(self) -> str:
        """``host:port``, with an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def from_asset(cls, asset: Mapping[str, str]) -> Connection:
        """Return the connection that *asset* describes (laws 1 and 2).

        Raises:
            ActionError: A setting is missing, unknown or not of its form.
        """
        _check_names(asset)
        values = {name: asset.get(name, "").strip() for name in SETTINGS}
        host, port = _endpoint(values["endpoint"])
        certificate = _pem("client_certificate", values["client_certificate"], "CERTIFICATE")
        key = _pem("client_key", values["client_key"], "PRIVATE KEY")
        if bool(certificate) is not bool(key):
            raise _bad(
                "client_certificate" if key else "client_key",
                "is missing: a client certificate works together with its key",
                "set both, or neither and an api_token",
            )
        if not certificate and not values["api_token"]:
            raise _bad(
                "api_token",
                "is missing, and there is no client certificate either",
                "make one with `holdfast api-tokens create`; it needs the role `contain` only",
            )
        if values["api_token"] and not _TOKEN.fullmatch(values["api_token"]):
            raise _bad(
                "api_token", "holds characters that no token has", "paste it again, without quotes"
            )
        return cls(
            host=host,
            port=port,
            api_token=Secret(values["api_token"]),
            ca_certificate=_pem("ca_certificate", values["ca_certificate"], "CERTIFICATE"),
            client_certificate=certificate,
            client_key=Secret(key),
            timeout_s=_timeout(values["timeout_seconds"]),
            proxy=Secret(_proxy(values["proxy"])),
        )


def _check_names(asset: Mapping[str, str]) -> None:
    for name, value in asset.items():
        if name in SETTINGS:
            if not isinstance(value, str):
                raise _bad(name, "is not text", "give it as text")
        elif _WEAKENS.search(str(name)):
            raise _bad(
                str(name),
                "does not exist: TLS is always verified",
                "remove it, and give the CA of control's certificate in ca_certificate",
            )
        else:
            raise _bad(str(name), "does not exist", f"there are: {', '.join(SETTINGS)}")


def _endpoint(text: str) -> tuple[str, int]:
    wrong = (
        "endpoint",
        "is not of the form https://host:port",
        "for example https://control.example:7445 — https only, without path or credential",
    )
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _bad(*wrong) from None
    host = parts.hostname or ""
    if (
        parts.scheme != "https"
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
        or any(sign in text for sign in "?#\\ \t\r\n")
        or not _HOST.fullmatch(host)
        or port == 0
    ):
        raise _bad(*wrong)
    return host, port or _DEFAULT_PORT


def _timeout(text: str) -> float:
    if not text:
        return 10.0
    if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,3})?", text) or not 1 <= float(text) <= 60:
        raise _bad("timeout_seconds", "is not a number from 1 to 60", "for example 10")
    return float(text)


def _proxy(text: str) -> str:
    if not text:
        return ""
    wrong = (
        "proxy",
        "is not of the form http://host:port",
        "for example http://proxy.example:3128",
    )
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _bad(*wrong) from None
    if parts.scheme != "http" or not port or not _HOST.fullmatch(parts.hostname or ""):
        raise _bad(*wrong)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _bad(*wrong)
    return text.rstrip("/")


def _pem(name: str, text: str, kind: str) -> str:
    """Return *text*, or what the file that it names holds, as PEM with its line ends in place.

    Fields of many platforms hold one line: what was pasted there lost its line ends.
    """
    if not text:
        return ""
    if "-----BEGIN" not in text:
        text = _read(name, text)
    blocks = [
        match
        for match in _PEM.finditer(text.replace("\\r", "").replace("\\n", "\n"))
        if match[1].endswith(kind)
    ]
    if not blocks or any("ENCRYPTED" in match[1] or "ENCRYPTED" in match[2] for match in blocks):
        raise _bad(
            name,
            f"holds no PEM block of a {kind.lower()} that is not encrypted",
            f"it begins with -----BEGIN {kind}-----; a path must be absolute",
        )
    lines = []
    for match in blocks:
        body = "".join(match[2].split())
        lines.append(f"-----BEGIN {match[1]}-----")
        lines += [body[at : at + 64] for at in range(0, len(body), 64)]
        lines.append(f"-----END {match[1]}-----")
    return "\n".join([*lines, ""])


def _read(name: str, text: str) -> str:
    path = Path(text)
    if not path.is_absolute() or "\0" in text:
        raise _bad(name, "is neither PEM text nor an absolute path", "paste the whole PEM text")
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
        if len(data) > _MAX_FILE:  # its last certificates would be left out, and nobody told
            raise _bad(name, f"names a file of more than {_MAX_FILE // 1024} KiB", "give less")
        return data.decode("ascii")
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise _bad(name, f"names a file that cannot be read: {why}", "check the path") from None


def _bad(name: str, what: str, remedy: str) -> ActionError:
    return ActionError(
        ErrorClass.BAD_INPUT,
        f"the setting {name[:60]!r} {what}",
        reason="BAD_SETTING",
        remedy=remedy,
    )
