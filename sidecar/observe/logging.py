# SPDX-License-Identifier: Apache-2.0
"""Logs are events with fields: JSON where a machine reads, one coloured line where a person does.

A log line never holds an argument, a token or a key: events are named, and whoever logs passes
identifiers. As a last net, values whose key names a secret are masked.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

__all__ = ["configure_logging"]

_SECRET_KEYS: Final = ("token", "password", "secret", "authorization", "private", "credential")
_MASK: Final = "«masked»"


def configure_logging(*, style: str, level: str, process: str) -> None:
    """Set up logging for a whole process.

    Args:
        style: ``json``, ``console``, or ``auto`` (console on a terminal, JSON elsewhere).
        level: ``debug``, ``info``, ``warning`` or ``error``.
        process: Name of this process, in every line.
    """
    is_console = style == "console" or (style == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if is_console
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _mask_secrets,
            *([] if is_console else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)


def _mask_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key in event:
        if any(word in key.lower() for word in _SECRET_KEYS):
            event[key] = _MASK
    return event
