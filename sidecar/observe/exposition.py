# SPDX-License-Identifier: Apache-2.0
"""Serves metrics in Prometheus' text format; off unless an address is configured."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, start_http_server

from sidecar.errors import ConfigurationError, EnvironmentFailure, ErrorReason

__all__ = ["serve_metrics"]


def serve_metrics(registry: CollectorRegistry, listen: str) -> None:
    """Serve *registry* on *listen* (``host:port``) from a daemon thread.

    Raises:
        ConfigurationError: *listen* is not ``host:port``.
        EnvironmentFailure: The address cannot be bound.
    """
    host, separator, port = listen.rpartition(":")
    if not separator or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigurationError(
            f"{listen!r} is not host:port", key="metrics_listen", hint="for example 127.0.0.1:9464"
        )
    try:
        start_http_server(int(port), addr=host, registry=registry)
    except OSError as exc:
        raise EnvironmentFailure(
            f"metrics cannot be served on {listen}: {exc.strerror}",
            reason=ErrorReason.SOCKET_UNAVAILABLE,
            hint="choose another metrics_listen",
        ) from exc
