# SPDX-License-Identifier: Apache-2.0
"""API tokens on the wire: made, listed, rotated, revoked."""

from __future__ import annotations

from typing import Final

import grpc
from google.protobuf import duration_pb2

from sidecar.api.v1 import api_token_pb2, api_token_pb2_grpc
from sidecar.apitokens.service import ApiTokens
from sidecar.apitokens.values import ApiToken, TokenState
from sidecar.clock import NS_PER_SECOND
from sidecar.control.admission import caller
from sidecar.control.convert import page_of, timestamp
from sidecar.errors import NotFoundError

__all__ = ["ApiTokenServicer"]

_PREFIX: Final = "apiTokens/"
_STATE_OF: Final = {
    TokenState.ACTIVE: api_token_pb2.ApiToken.STATE_ACTIVE,
    TokenState.EXPIRED: api_token_pb2.ApiToken.STATE_EXPIRED,
    TokenState.REVOKED: api_token_pb2.ApiToken.STATE_REVOKED,
}


class ApiTokenServicer(api_token_pb2_grpc.ApiTokenServiceServicer):
    """Answers ``ApiTokenService``."""

    def __init__(self, *, tokens: ApiTokens) -> None:
        self._tokens = tokens

    async def CreateApiToken(  # noqa: N802 - the names are the proto's
        self,
        request: api_token_pb2.CreateApiTokenRequest,
        context: grpc.aio.ServicerContext | None,
    ) -> api_token_pb2.CreateApiTokenResponse:
        """Make a token and show its secret, once."""
        issued = await self._tokens.create(
            request_id=request.request_id,
            operator=request.operator,
            permissions=tuple(request.permissions),
            agents=tuple(request.agents),
            ttl_s=_seconds(request.ttl) if request.HasField("ttl") else None,
            description=request.description,
            caller=caller(),
        )
        return api_token_pb2.CreateApiTokenResponse(
            token=self._message(issued.token), secret=issued.secret
        )

    async def ListApiTokens(  # noqa: N802
        self, request: api_token_pb2.ListApiTokensRequest, context: grpc.aio.ServicerContext | None
    ) -> api_token_pb2.ListApiTokensResponse:
        """List tokens, newest first."""
        limit, offset = page_of(request.page_size, request.page_token)
        found = self._tokens.list(is_with_ended=request.include_ended)
        return api_token_pb2.ListApiTokensResponse(
            tokens=[self._message(token) for token in found[offset : offset + limit]],
            next_page_token=str(offset + limit) if offset + limit < len(found) else "",
        )

    async def RotateApiToken(  # noqa: N802
        self,
        request: api_token_pb2.RotateApiTokenRequest,
        context: grpc.aio.ServicerContext | None,
    ) -> api_token_pb2.RotateApiTokenResponse:
        """Give a token a new secret and show it, once."""
        issued = await self._tokens.rotate(
            _id_in(request.name),
            request_id=request.request_id,
            overlap_s=_seconds(request.overlap) if request.HasField("overlap") else None,
            caller=caller(),
        )
        return api_token_pb2.RotateApiTokenResponse(
            token=self._message(issued.token), secret=issued.secret
        )

    async def RevokeApiToken(  # noqa: N802
        self,
        request: api_token_pb2.RevokeApiTokenRequest,
        context: grpc.aio.ServicerContext | None,
    ) -> api_token_pb2.RevokeApiTokenResponse:
        """End a token for good."""
        token = await self._tokens.revoke(
            _id_in(request.name),
            request_id=request.request_id,
            reason=request.reason,
            caller=caller(),
        )
        return api_token_pb2.RevokeApiTokenResponse(token=self._message(token))

    def _message(self, token: ApiToken) -> api_token_pb2.ApiToken:
        message = api_token_pb2.ApiToken(
            name=token.name,
            operator=token.operator,
            permissions=sorted(token.permissions),
            agents=sorted(token.agents),
            description=token.description,
            author=token.author,
            create_time=timestamp(token.create_time_ns),
            expire_time=timestamp(token.expire_time_ns),
            state=_STATE_OF[self._tokens.state_of(token)],
        )
        is_overlapping = self._tokens.is_previous_alive(token)
        for wall_ns, field in (
            (token.use_time_ns, message.use_time),
            (token.rotate_time_ns, message.rotate_time),
            (token.previous_expire_time_ns if is_overlapping else 0, message.previous_expire_time),
            (token.revoke_time_ns, message.revoke_time),
        ):
            if wall_ns:
                field.CopyFrom(timestamp(wall_ns))
        return message


def _seconds(span: duration_pb2.Duration) -> float:
    return span.seconds + span.nanos / NS_PER_SECOND


def _id_in(name: str) -> str:
    if not name.startswith(_PREFIX):
        raise NotFoundError(
            "there is no such API token", hint="names are of the form apiTokens/<id>"
        )
    return name.removeprefix(_PREFIX)
