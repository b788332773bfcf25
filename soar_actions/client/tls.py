# SPDX-License-Identifier: Apache-2.0
"""The TLS settings of every call: verified, TLS 1.2 or newer, a private CA where one is given."""

from __future__ import annotations

import os
import ssl
import tempfile
from typing import Final

from soar_actions.client.connection import Connection
from soar_actions.errors import ActionError, ErrorClass

__all__ = ["tls_context", "tls_error"]

# Alerts (RFC 8446 section 6.2) with which a server refuses a certificate, or that there is none.
_OF_CERTIFICATES: Final = (
    "ALERT_HANDSHAKE_FAILURE",
    "ALERT_BAD_CERTIFICATE",
    "ALERT_UNSUPPORTED_CERTIFICATE",
    "ALERT_CERTIFICATE_",
    "ALERT_UNKNOWN_CA",
    "ALERT_ACCESS_DENIED",
)


def tls_context(connection: Connection) -> ssl.SSLContext:
    """Return the settings for *connection*.

    A private CA is trusted *instead of* those of the system: it was given because control's
    certificate is of that one.

    Raises:
        ActionError: A certificate or key is not one.
    """
    try:
        context = ssl.create_default_context(cadata=connection.ca_certificate or None)
    except (ssl.SSLError, ValueError) as exc:
        raise _bad("ca_certificate") from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False  # a common name is no host name (RFC 9525)
    # From Python 3.13 on, extensions (key identifiers) are wanted that many a private CA leaves out,
    # and a CA that is given may be an issuing one, without its root. Have every Python take and refuse
    # the same: what is given is trusted; signature, chain, time, usage and name are checked.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if connection.client_certificate:
        _load_credential(context, connection)
    return context


def _load_credential(context: ssl.SSLContext, connection: Connection) -> None:
    """Load the client certificate: OpenSSL takes it from a file only, so it is one for a moment."""
    try:
        descriptor, path = tempfile.mkstemp(prefix="holdfast-", suffix=".pem")  # mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(connection.client_key.reveal() + connection.client_certificate)
            # A password that is none: otherwise OpenSSL would ask a terminal for one, and wait.
            context.load_cert_chain(path, password=lambda: b"")
        finally:
            os.unlink(path)
    except (ssl.SSLError, ValueError) as exc:
        raise _bad("client_certificate or client_key") from exc
    except OSError as exc:
        raise ActionError(
            ErrorClass.FAILED,
            f"the client certificate cannot be put into a temporary file: {exc.strerror}",
            reason="NO_TEMPORARY_FILE",
            remedy="give the platform a folder for temporary files, or use an api_token",
        ) from None


def tls_error(exc: ssl.SSLError) -> ActionError:
    """Return what *exc* means for a playbook."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return ActionError(
            ErrorClass.REFUSED,
            f"control's certificate was not accepted: {exc.verify_message}",
            reason="SERVER_NOT_TRUSTED",
            remedy="give the CA of control's certificate in ca_certificate, and use a host name "
            "that stands in the certificate; verification cannot be switched off",
        )
    if any(word in (exc.reason or "") for word in _OF_CERTIFICATES):
        return ActionError(
            ErrorClass.REFUSED,
            "control did not accept the client certificate",
            reason="UNAUTHENTICATED",
            remedy="give a certificate of control's own CA that is not over, or an api_token",
        )
    if "WRONG_VERSION" in (exc.reason or "") or "HTTP_REQUEST" in (exc.reason or ""):
        return ActionError(
            ErrorClass.REFUSED,
            "the endpoint does not speak TLS",
            reason="SERVER_NOT_TRUSTED",
            remedy="check host and port; nothing was sent",
        )
    return ActionError(ErrorClass.UNAVAILABLE, "the TLS connection to control failed")


def _bad(name: str) -> ActionError:
    return ActionError(
        ErrorClass.BAD_INPUT,
        f"the setting {name!r} holds nothing that TLS can use, or two that do not belong together",
        reason="BAD_SETTING",
        remedy="paste the whole PEM text, from BEGIN to END",
    )
