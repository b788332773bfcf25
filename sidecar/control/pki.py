# SPDX-License-Identifier: Apache-2.0
"""Certificates for development: a CA of this machine's own, and a certificate per operator.

For ``holdfast up --dev`` alone, and it says so loudly. In production the paths of real certificates
are configured and nothing here is called.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sidecar.safe_paths import ensure_private_directory

__all__ = ["InsecureDevelopmentPki"]

_LIFE: Final = timedelta(days=30)
_BACKDATE: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class InsecureDevelopmentPki:
    """The files of a development CA under one directory."""

    directory: Path

    @property
    def ca(self) -> Path:
        """Certificate that clients and server trust."""
        return self.directory / "ca.pem"

    def certificate(self, name: str) -> Path:
        """Certificate chain of *name* (``server`` or an operator)."""
        return self.directory / f"{name}.pem"

    def key(self, name: str) -> Path:
        """Private key of *name*, mode 0600."""
        return self.directory / f"{name}.key"

    @classmethod
    def ensure(
        cls, directory: Path, operators: Iterable[tuple[str, str]]
    ) -> InsecureDevelopmentPki:
        """Return the PKI in *directory*, made anew unless it is complete and valid for a day.

        Args:
            operators: (name, SPIFFE id) of each operator that gets a client certificate.
        """
        pki = cls(directory)
        wanted = list(operators)
        if not pki._is_usable(name for name, _ in wanted):
            pki._make(wanted)
        return pki

    def _is_usable(self, names: Iterable[str]) -> bool:
        soon = datetime.now(UTC) + timedelta(days=1)
        for name in ("ca", "server", *names):
            path = self.directory / f"{name}.pem"
            try:
                certificate = x509.load_pem_x509_certificate(path.read_bytes())
            except (OSError, ValueError):
                return False
            if certificate.not_valid_after_utc < soon:
                return False
            if name != "ca" and not self.key(name).is_file():
                return False
        return True

    def _make(self, operators: list[tuple[str, str]]) -> None:
        ensure_private_directory(self.directory, 0o700)
        ca_key = ec.generate_private_key(ec.SECP256R1())
        ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Holdfast development CA")])
        ca = (
            _builder(ca_name, ca_name, ca_key.public_key(), ca_key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_ca_usage(), critical=True)
            .sign(ca_key, hashes.SHA256())
        )
        _write(self.ca, ca.public_bytes(serialization.Encoding.PEM))
        names: list[x509.GeneralName] = [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
        self._issue("server", names, ExtendedKeyUsageOID.SERVER_AUTH, ca, ca_key)
        for name, identity in operators:
            self._issue(
                name,
                [x509.UniformResourceIdentifier(identity)],
                ExtendedKeyUsageOID.CLIENT_AUTH,
                ca,
                ca_key,
            )

    def _issue(
        self,
        name: str,
        alternative_names: list[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        ca: x509.Certificate,
        ca_key: ec.EllipticCurvePrivateKey,
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"holdfast dev {name}")])
        certificate = (
            _builder(subject, ca.subject, key.public_key(), ca_key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(alternative_names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        _write(
            self.key(name),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
        _write(self.certificate(name), certificate.public_bytes(serialization.Encoding.PEM))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
) -> x509.CertificateBuilder:
    """Return what every certificate has; strict clients demand the key identifiers (RFC 5280)."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False
        )
    )


def _ca_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, data: bytes) -> None:
    """Write *data* whole, never readable by others, not even for a moment."""
    part = path.with_name(path.name + ".part")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
