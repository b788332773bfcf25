# SPDX-License-Identifier: Apache-2.0
"""Shows, explains and reloads the policy bundle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc

from sidecar.api.v1 import policy_pb2, policy_pb2_grpc, types_pb2
from sidecar.canonical import parse_arguments
from sidecar.containment.machine import ContainmentState
from sidecar.control.convert import EFFECTS, directive_message, timestamp
from sidecar.control.interceptor import caller
from sidecar.control.policies import ControlPolicy, PolicyState
from sidecar.errors import NotFoundError
from sidecar.identifiers import check_request_id
from sidecar.model import Operator, Subject
from sidecar.policy.bundle import Bundle
from sidecar.policy.engine import PolicyEngine
from sidecar.policy.explain import explain

__all__ = ["Activate", "PolicyServicer"]

Activate = Callable[[Bundle, PolicyEngine, Operator], Awaitable[PolicyState]]


class PolicyServicer(policy_pb2_grpc.PolicyServiceServicer):
    """Answers ``PolicyService``."""

    def __init__(
        self,
        *,
        policy: ControlPolicy,
        activate: Activate,
        containment: Callable[[], ContainmentState],
    ) -> None:
        self._policy = policy
        self._activate = activate
        self._containment = containment

    async def GetPolicySet(  # noqa: N802 - the names are the proto's
        self, request: policy_pb2.GetPolicySetRequest, context: grpc.aio.ServicerContext
    ) -> policy_pb2.GetPolicySetResponse:
        """Return the bundle in force."""
        return policy_pb2.GetPolicySetResponse(policy_set=_message(self._policy.state))

    async def ExplainDecision(  # noqa: N802
        self, request: policy_pb2.ExplainDecisionRequest, context: grpc.aio.ServicerContext
    ) -> policy_pb2.ExplainDecisionResponse:
        """Explain how policy would decide a call."""
        bundle = self._policy.state.bundle
        agent = bundle.agents.get(request.agent)
        if agent is None:
            raise NotFoundError(
                f"agents.yaml does not name agent {request.agent!r}", hint="list the agents"
            )
        call = request.tool_call
        arguments = parse_arguments(call.arguments or b"{}")
        explanation = await asyncio.to_thread(
            explain,
            bundle,
            agent=request.agent,
            tool=call.tool,
            arguments=arguments,
            session=call.session_id or "explain",
            url=call.url,
        )
        verdict = explanation.verdict
        subject = Subject(
            agent=request.agent,
            session=call.session_id,
            tool=call.tool,
            principals=frozenset((agent.owner,)),
            labels=agent.labels,
            hosts=frozenset((explanation.destination.host,))
            if explanation.destination
            else frozenset(),
        )
        held = self._containment().effective(subject)
        return policy_pb2.ExplainDecisionResponse(
            effect=EFFECTS[verdict.effect],
            reasons=[types_pb2.Reason(code=verdict.reason, text=verdict.text)],
            policies=[
                policy_pb2.ExplainDecisionResponse.Policy(
                    id=item.policy.id,
                    file=item.policy.path,
                    line=item.policy.line,
                    effect=item.policy.effect,
                    matched=item.is_match,
                    annotations=dict(item.policy.annotations),
                )
                for item in explanation.policies
            ],
            projection=list(explanation.reads),
            directives=[directive_message(d) for d in held.directives] if held else (),
        )

    async def ReloadPolicySet(  # noqa: N802
        self, request: policy_pb2.ReloadPolicySetRequest, context: grpc.aio.ServicerContext
    ) -> policy_pb2.ReloadPolicySetResponse:
        """Read the bundle again; all of it comes into force, or nothing."""
        check_request_id(request.request_id)
        async with self._policy.reloading:
            bundle, engine = await self._policy.read()
            is_changed = bundle.digest != self._policy.state.bundle.digest
            if is_changed and not request.validate_only:
                await self._activate(bundle, engine, caller())
            return policy_pb2.ReloadPolicySetResponse(
                policy_set=_message(self._policy.state), changed=is_changed
            )


def _message(state: PolicyState) -> policy_pb2.PolicySet:
    return policy_pb2.PolicySet(
        digest=state.bundle.digest,
        activate_time=timestamp(state.activate_time_ns),
        epoch=state.epoch,
        files=dict(state.bundle.files),
        policy_count=len(state.bundle.policies),
    )
