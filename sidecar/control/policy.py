# SPDX-License-Identifier: Apache-2.0
"""Shows, explains and reloads the policy bundle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc

from sidecar.api.v1 import policy_pb2, policy_pb2_grpc, types_pb2
from sidecar.canonical import parse_arguments
from sidecar.containment.machine import ContainmentState
from sidecar.control.containment import Tell
from sidecar.control.convert import EFFECTS, directive_message, timestamp
from sidecar.control.interceptor import caller
from sidecar.control.policies import ControlPolicy, PolicyState
from sidecar.errors import NotFoundError
from sidecar.identifiers import check_request_id
from sidecar.model import Subject
from sidecar.operations.service import Operations
from sidecar.operations.values import Action, Operation
from sidecar.policy.explain import explain

__all__ = ["PolicyServicer"]


class PolicyServicer(policy_pb2_grpc.PolicyServiceServicer):
    """Answers ``PolicyService``."""

    def __init__(
        self,
        *,
        policy: ControlPolicy,
        operations: Operations,
        tell: Tell,
        containment: Callable[[], ContainmentState],
    ) -> None:
        self._policy = policy
        self._operations = operations
        self._tell = tell
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
        """Read the bundle again; all of it comes into force, or nothing, or a human is asked."""
        check_request_id(request.request_id)
        async with self._policy.reloading:
            bundle, engine = await self._policy.read()
            before = self._policy.state
            response = policy_pb2.ReloadPolicySetResponse()
            if request.validate_only:
                response.changed = bundle.digest != before.bundle.digest
                need = await self._operations.preview_activation(bundle, caller())
                if need is not None:
                    response.operation.state = types_pb2.Operation.STATE_PENDING_APPROVAL
                    response.operation.action = Action.ACTIVATE_POLICY.value
                    response.operation.detail = need.why
            else:
                outcome = await self._operations.activate(
                    bundle, engine, caller(), request.request_id
                )
                if isinstance(outcome, Operation):
                    response.operation.CopyFrom(await self._tell(outcome))
                response.changed = self._policy.state is not before
            response.policy_set.CopyFrom(_message(self._policy.state))
            return response


def _message(state: PolicyState) -> policy_pb2.PolicySet:
    return policy_pb2.PolicySet(
        digest=state.bundle.digest,
        activate_time=timestamp(state.activate_time_ns),
        epoch=state.epoch,
        files=dict(state.bundle.files),
        policy_count=len(state.bundle.policies),
    )
