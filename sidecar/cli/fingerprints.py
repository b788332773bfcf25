# SPDX-License-Identifier: Apache-2.0
"""What a human types to say which request they grant.

Laws:

1. At least 8 hex digits, from the first one on; or all that is shown, digits and words.
2. No refusal repeats the right one: it must come from where the request was looked at.
"""

from __future__ import annotations

import re
from typing import Final

import click

from sidecar.api.v1 import approval_pb2
from sidecar.canonical import fingerprint_words
from sidecar.cli.output import talk
from sidecar.cli.terminal import escape
from sidecar.documents import short

__all__ = ["MIN_DIGITS", "ask_for_fingerprint", "check_fingerprint", "check_prefix"]

MIN_DIGITS: Final = 8
_DIGITS: Final = re.compile(r"[0-9a-f]{8,64}", re.ASCII)
_WITH_WORDS: Final = re.compile(r"[0-9a-f]{16} [a-z]+-[a-z]+-[a-z]+-[a-z]+", re.ASCII)


def check_prefix(text: str) -> None:
    """Check that *text* can begin a fingerprint (law 1).

    Raises:
        click.UsageError: It cannot.
    """
    if not (_DIGITS.fullmatch(text) or _WITH_WORDS.fullmatch(text)):
        raise click.UsageError(
            f"{short(text)} does not begin a fingerprint: give at least its first {MIN_DIGITS} hex "
            "digits in lower case, or digits and words as `holdfast approvals show` displays them"
        )


def check_fingerprint(text: str, fingerprint: str) -> None:
    """Check that *text* names *fingerprint*.

    Raises:
        click.UsageError: It names another one (law 2).
    """
    check_prefix(text)
    named = fingerprint_words(fingerprint) if " " in text else fingerprint[: len(text)]
    if named != text:
        raise click.UsageError(
            "that is not the fingerprint of this request, so nothing was granted; look at it again "
            "with `holdfast approvals show`: it may be another request than the one you were told of"
        )


def ask_for_fingerprint(approval: approval_pb2.Approval) -> None:
    """Let whoever was just shown *approval* type the beginning of its fingerprint.

    Raises:
        click.UsageError: They typed something else.
        click.Abort: They left.
    """
    talk("")
    talk(f"To grant this once: {escape(approval.summary)}")
    typed = click.prompt(
        f"Type the first {MIN_DIGITS} digits of its fingerprint",
        err=True,
        default="",
        show_default=False,
    )
    check_fingerprint(typed, approval.fingerprint)
