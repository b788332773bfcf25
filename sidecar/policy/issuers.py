# SPDX-License-Identifier: Apache-2.0
"""``issuers.yaml``: who may issue the tokens that some tools ask for.

Laws:

1. Only asymmetric algorithms: a gate holds no secret that could issue a token.
2. Keys come from one place, a file of the bundle or an https URL, never from the token.
3. Every lifetime is bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from sidecar.documents import Document, short, validate_document
from sidecar.errors import DocumentError
from sidecar.policy.fields import FileModel, LimitName, Version, duration

__all__ = ["IssuerSpec", "parse_issuers"]

_JWKS_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}\.json", re.ASCII)
_HTTPS: Final = re.compile(
    r"https://[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?(?:/[\x21-\x7e]*)?", re.ASCII
)
_HOUR: Final = 3600


def _https(value: str) -> str:
    if not _HTTPS.fullmatch(value) or "@" in value or len(value) > 2048:
        raise ValueError(f"{short(value)} is not an https URL")
    return value


def _file_name(value: str) -> str:
    if not _JWKS_FILE.fullmatch(value):
        raise ValueError(f"{short(value)} is not the name of a .json file beside issuers.yaml")
    return value


_Word = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[\x21-\x7e]+$")]


class _Issuer(FileModel):
    issuer: _Word
    audience: _Word
    algorithms: Annotated[
        list[Literal["EdDSA", "ES256", "RS256", "PS256"]],
        Field(min_length=1),
    ]
    jwks_file: Annotated[str, AfterValidator(_file_name)] | None = None
    jwks_url: Annotated[str, AfterValidator(_https)] | None = None
    max_token_life: Annotated[int, duration(least_s=1, most_s=24 * _HOUR)] = _HOUR
    leeway: Annotated[int, duration(least_s=1, most_s=120)] = 30
    max_key_age: Annotated[int, duration(least_s=60, most_s=7 * 24 * _HOUR)] = _HOUR


class _IssuersFile(FileModel):
    version: Version
    issuers: dict[LimitName, _Issuer]


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerSpec:
    """One token issuer. Immutable. Exactly one of ``jwks_file`` and ``jwks_url`` is set."""

    name: str
    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    jwks_file: str | None
    jwks_url: str | None
    max_token_life_s: int
    leeway_s: int
    max_key_age_s: int


def parse_issuers(
    document: Document, problems: list[DocumentError], *, files: Mapping[str, bytes]
) -> Mapping[str, IssuerSpec]:
    """Return the issuers of *document*; *files* holds the bundle's other files.

    Raises:
        DocumentErrors: the file does not have the form of an issuers file.
    """
    parsed = validate_document(document, _IssuersFile)
    issuers = {}
    for name, issuer in parsed.issuers.items():
        place = ("issuers", name)
        if (issuer.jwks_file is None) == (issuer.jwks_url is None):
            problems.append(
                document.error(place, "needs either `jwks_file` or `jwks_url`", hint="keep one")
            )
        elif issuer.jwks_file is not None:
            message = _jwks_problem(files.get(issuer.jwks_file))
            if message:
                problems.append(document.error((*place, "jwks_file"), message))
        issuers[name] = IssuerSpec(
            name=name,
            issuer=issuer.issuer,
            audience=issuer.audience,
            algorithms=tuple(dict.fromkeys(issuer.algorithms)),
            jwks_file=issuer.jwks_file,
            jwks_url=issuer.jwks_url,
            max_token_life_s=issuer.max_token_life,
            leeway_s=issuer.leeway,
            max_key_age_s=issuer.max_key_age,
        )
    return MappingProxyType(issuers)


def _jwks_problem(data: bytes | None) -> str:
    """Return why *data* is no key set. Its keys are judged where tokens are verified."""
    if data is None:
        return "there is no such file in the bundle"
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return "the file is not JSON"
    if not isinstance(found, dict) or not isinstance(found.get("keys"), list) or not found["keys"]:
        return 'the file is not a JSON Web Key Set: {"keys": [...]} with at least one key'
    if any(not isinstance(key, dict) or "d" in key or "k" in key for key in found["keys"]):
        return "the file holds a private or symmetric key; keep those out of a bundle"
    return ""
