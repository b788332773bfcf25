# SPDX-License-Identifier: Apache-2.0
"""Where a network tool may go: obligation 6 of the pipeline.

``parse_url`` reads the one host that every HTTP client would dial, or refuses; a ``Resolver`` turns
it into addresses; ``check_destination`` admits them only if *all* are public, and its answer is the
obligation to dial those and to resolve no second time.
"""

from sidecar.destination.addresses import AddressClass, canonical_address, classify, is_public
from sidecar.destination.hosts import HostPattern, check_host, match_host
from sidecar.destination.resolver import ResolutionError, Resolver, SystemResolver
from sidecar.destination.rules import Refusal, check_destination
from sidecar.destination.urls import parse_url

__all__ = [
    "AddressClass",
    "HostPattern",
    "Refusal",
    "ResolutionError",
    "Resolver",
    "SystemResolver",
    "canonical_address",
    "check_destination",
    "check_host",
    "classify",
    "is_public",
    "match_host",
    "parse_url",
]
