# SPDX-License-Identifier: Apache-2.0
"""Windows of time as people name them: an instant with its zone, or how long ago."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from sidecar.cli.contain import parse_duration
from sidecar.clock import SystemClock, datetime_of

__all__ = ["moment_of", "set_window", "windowed"]

T = TypeVar("T")


def windowed(function: Callable[..., T]) -> Callable[..., T]:
    """Give a command ``--since`` and ``--until``; it gets them as texts, or None."""
    form = "RFC 3339, or a span before now: 2h"
    function = click.option("--until", metavar="TIME", help=f"Before ({form}; default: now).")(
        function
    )
    return click.option(
        "--since", metavar="TIME", help=f"Not before ({form}; default: 24 hours before --until)."
    )(function)


def moment_of(flag: str, text: str | None) -> datetime | None:
    """Return the instant that *text* names, in UTC; None if it names none.

    Raises:
        click.UsageError: It is neither an instant with a zone nor a span.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return _ago(flag, text)
    if moment.tzinfo is None:
        raise click.UsageError(f"{flag} needs a zone: end it with Z or +01:00")
    try:
        return moment.astimezone(UTC)
    except OverflowError as exc:
        raise click.UsageError(f"{flag} is not between the years 1 and 9999 in UTC") from exc


def set_window(request: Any, since: str | None, until: str | None) -> Any:
    """Return *request* with the window that the flags name."""
    for name, text in (("since", since), ("until", until)):
        moment = moment_of(f"--{name}", text)
        if moment is not None:
            getattr(request, name).FromDatetime(moment)
    return request


def _ago(flag: str, text: str) -> datetime:
    try:
        span: timedelta = parse_duration(text)
        return datetime_of(SystemClock().wall_ns()) - span
    except (click.UsageError, OverflowError) as exc:
        raise click.UsageError(
            f"{flag} is neither a time like 2026-11-22T14:00:00Z nor a span like 2h"
        ) from exc
