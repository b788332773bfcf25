# SPDX-License-Identifier: Apache-2.0
"""Where control is, and with which certificate. There is no way to switch verification off."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from soar_actions.errors import ActionError, ErrorClass

__all__ = ["Connection"]

_MAX_MESSAGE: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A control plane and the credential for it.

    Attributes:
        address: ``host:port``.
        ca: PEM file of the CA that control's certificate is checked against.
        certificate: PEM file of the client certificate.
        key: PEM file of its private key.
        deadline_s: Longest time of one attempt.
        total_s: Longest time of a whole action, retries included.
    """

    address: str
    ca: Path
    certificate: Path
    key: Path
    deadline_s: float = 10.0
    total_s: float = 30.0

    def channel(self) -> grpc.aio.Channel:
        """Return a channel to control.

        Raises:
            ActionError: A file cannot be read.
        """
        credentials = grpc.ssl_channel_credentials(
            root_certificates=_read("ca", self.ca),
            private_key=_read("key", self.key),
            certificate_chain=_read("certificate", self.certificate),
        )
        return grpc.aio.secure_channel(
            self.address,
            credentials,
            options=[
                ("grpc.enable_retries", 0),
                ("grpc.service_config_disable_resolution", 1),
                ("grpc.max_receive_message_length", _MAX_MESSAGE),
            ],
        )


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ActionError(
            ErrorClass.BAD_INPUT,
            f"the {name} file {path} cannot be read: {exc.strerror}",
            remedy="check the path; for a development host: --as NAME",
        ) from exc
