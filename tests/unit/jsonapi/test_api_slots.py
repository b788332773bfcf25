# SPDX-License-Identifier: Apache-2.0
"""Slots that are kept for levers are kept for those who may pull one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp import StreamReader, web
from aiohttp.test_utils import make_mocked_request

from sidecar.api.v1 import agent_pb2, containment_pb2
from sidecar.clock import ManualClock
from sidecar.control.admission import Admission, methods_of
from sidecar.control.identity import Identities
from sidecar.control.routes import Routes
from sidecar.jsonapi.api import Api
from sidecar.jsonapi.listener import Peer
from sidecar.jsonapi.pacing import Slots
from sidecar.model import Operator, OperatorKind, Role

CONTAIN = "/sidecar.api.v1.ContainmentService/Contain"
OPENC2 = "/.well-known/openc2"
_METHODS = methods_of(
    containment_pb2.DESCRIPTOR.services_by_name["ContainmentService"],
    agent_pb2.DESCRIPTOR.services_by_name["AgentService"],
)


class _One(Identities):
    """Whoever calls is the same operator."""

    def __init__(self, roles: Collection[Role]) -> None:
        self._operator = Operator(
            name="soar",
            kind=OperatorKind.AUTOMATION,
            human_id="",
            roles=frozenset(roles),
            identity="spiffe://x/soar",
        )

    def of_peer(self, **_: Any) -> Operator:
        return self._operator


async def _refuse(*_: Any) -> None:
    """Record nothing."""


async def _status(path: str, media_type: str, role: Role) -> int:
    """Return the answer to *role* while all slots but the kept one are taken."""
    clock = ManualClock()
    slots = Slots(total=2, kept=1, per_caller=2)
    routes = Routes()
    routes._unary[CONTAIN] = None  # type: ignore[assignment]  # it is never reached
    api = Api(
        routes=routes,
        admission=Admission(methods=_METHODS, refused=_refuse, clock=clock),
        identities=_One({role}),
        is_serving=lambda: True,
        documents={},
        clock=clock,
        slots=slots,
    )
    body = StreamReader(Mock(), 2**16)
    body.feed_data(b"[]")
    body.feed_eof()
    request = make_mocked_request("POST", path, headers={"Content-Type": media_type}, payload=body)
    with slots.one("somebody else", is_lever=False):
        response: web.Response = await api.handle(
            request, Peer(address="192.0.2.1", certificate_pem=None)
        )
    return response.status


@pytest.mark.parametrize(
    ("path", "media_type"),
    [(CONTAIN, "application/json"), (OPENC2, "application/openc2+json")],
    ids=["method", "openc2"],
)
async def test_who_has_no_lever_cannot_crowd_out_who_has(path: str, media_type: str) -> None:
    """The last slot is nothing for an auditor, whatever they name; it is for who may contain."""
    assert await _status(path, media_type, Role.AUDIT_READ) == 429
    assert await _status(path, media_type, Role.CONTAIN) == 400  # read, and found to be no order
