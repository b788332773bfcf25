# SPDX-License-Identifier: Apache-2.0
"""Names of approvals and operations as people paste them.

Exact or not at all: a name that is cut off is never completed, because what is granted must be what
was named. A control action's approval and its operation have the same id.
"""

from __future__ import annotations

import re
from typing import Final

import click

from sidecar.documents import did_you_mean, short

__all__ = ["resource_name"]

_ID: Final = re.compile(r"apr_[0-9a-f]{32}", re.ASCII)
_CUT: Final = re.compile(r"(?:apr_)?[0-9a-f]{4,31}", re.ASCII)
_COLLECTIONS: Final = ("approvals", "operations")
_SAMPLE: Final = "apr_0123456789abcdef0123456789abcdef"


def resource_name(collection: str, text: str) -> str:
    """Return ``<collection>/<id>`` for *text*, which may leave the collection out.

    Raises:
        click.UsageError: It is no such name; says what it looks like instead.
    """
    given, separator, id_ = text.rpartition("/")
    if separator and given != collection:
        if given in _COLLECTIONS and _ID.fullmatch(id_):
            raise click.UsageError(
                f"{given}/{id_} is one of the {given}; did you mean {collection}/{id_}?"
            )
        meant = did_you_mean(given, _COLLECTIONS)
        raise click.UsageError(
            f"{short(text)} is not of the form {collection}/{_SAMPLE}"
            + (f" ({meant})" if meant else "")
        )
    if _ID.fullmatch(id_):
        return f"{collection}/{id_}"
    if _CUT.fullmatch(id_):
        raise click.UsageError(
            f"{short(id_)} is cut off: write all 32 digits, as `holdfast {collection} list` shows"
        )
    raise click.UsageError(
        f"{short(text)} is not of the form {collection}/{_SAMPLE}; see `holdfast {collection} list`"
    )
