# SPDX-License-Identifier: Apache-2.0
"""Control's certificates: real ones, valid, matching their key; development ones only on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from sidecar.clock import datetime_of
from sidecar.doctor.result import CheckResult, Patient, failed, fine, from_error, warned
from sidecar.errors import HoldfastError
from sidecar.safe_paths import read_secret_file

__all__ = ["check_certificates"]

_SOON: Final = timedelta(days=14)
_MAX_PEM: Final = 256 * 1024
_DEVELOPMENT: Final = "Holdfast development CA"
_PUBLIC = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def check_certificates(patient: Patient) -> Iterator[CheckResult]:
    """The configured certificates, or, without any, those of development mode."""
    settings, pki = patient.settings, patient.layout.pki
    certificate, key, client_ca = (
        settings.tls_certificate,
        settings.tls_key,
        settings.client_ca,
    )
    if certificate is None or key is None or client_ca is None:
        yield from _without_any(patient)
        certificate, key, client_ca = pki / "server.pem", pki / "server.key", pki / "ca.pem"
        if not patient.is_dev or not certificate.exists():
            return
    yield from _validity(patient, "certificate", certificate)
    yield from _validity(patient, "client CA", client_ca)
    yield from _key(certificate, key)


def _without_any(patient: Patient) -> Iterator[CheckResult]:
    if patient.is_dev:
        return
    if patient.layout.pki.exists():
        yield failed(
            "certificates",
            f"development certificates are in use ({patient.layout.pki})",
            "set tls_certificate, tls_key and client_ca; or say `holdfast doctor --dev`",
        )
    else:
        yield failed(
            "certificates",
            "none is configured",
            "set tls_certificate, tls_key and client_ca; to try Holdfast out, use --dev",
        )


def _validity(patient: Patient, name: str, path: Path) -> Iterator[CheckResult]:
    try:
        with path.open("rb") as file:
            found = x509.load_pem_x509_certificates(file.read(_MAX_PEM))
    except OSError as exc:
        yield failed(name, f"{path} cannot be read: {exc.strerror}", "put the certificate there")
        return
    except ValueError:
        yield failed(name, f"{path} is no PEM certificate", "put the certificate there")
        return
    now = datetime_of(patient.clock.wall_ns())
    for certificate in found:
        yield _one(patient, name, path, certificate, now)


def _one(
    patient: Patient, name: str, path: Path, certificate: x509.Certificate, now: datetime
) -> CheckResult:
    ends = certificate.not_valid_after_utc
    day = ends.date().isoformat()
    issuers = certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not patient.is_dev and any(issuer.value == _DEVELOPMENT for issuer in issuers):
        return failed(name, f"{path} is a development certificate", "use one of your own CA")
    if now < certificate.not_valid_before_utc:
        return failed(name, f"{path} is not valid yet", "check the clock, or wait")
    if ends <= now:
        return failed(name, f"{path} expired on {day}", "renew it and restart control")
    if ends - now < _SOON and not patient.is_dev:
        return warned(name, f"{path} expires on {day}", "renew it")
    return fine(name, f"{path}, valid until {day}")


def _key(certificate: Path, key: Path) -> Iterator[CheckResult]:
    try:
        private = serialization.load_pem_private_key(read_secret_file(key), password=None)
        public = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    except HoldfastError as exc:
        yield from_error("key", exc, "put the key there, mode 0600")
        return
    except (OSError, ValueError, TypeError):
        yield failed("key", f"{key} is no PEM private key", "put the certificate's key there")
        return
    if private.public_key().public_bytes(*_PUBLIC) != public.public_bytes(*_PUBLIC):
        yield failed("key", f"{key} is not the key of {certificate}", "pair them again")
    else:
        yield fine("key", f"{key} fits, and nobody else can read it")
