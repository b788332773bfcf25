# SPDX-License-Identifier: Apache-2.0
"""Passkeys on the wire: a link to enrol one, the list, removing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from sidecar.api.v1 import account_pb2, account_pb2_grpc
from sidecar.control.convert import page_of, timestamp
from sidecar.control.interceptor import caller
from sidecar.identifiers import check_request_id

if TYPE_CHECKING:  # it brings WebAuthn along, which a control without a console does not need
    from sidecar.passkeys.accounts import Accounts
    from sidecar.passkeys.values import Passkey

__all__ = ["AccountServicer"]


class AccountServicer(account_pb2_grpc.AccountServiceServicer):
    """Answers ``AccountService``."""

    def __init__(self, *, accounts: Accounts) -> None:
        self._accounts = accounts

    async def EnrolAccount(  # noqa: N802 - the names are the proto's
        self, request: account_pb2.EnrolAccountRequest, context: grpc.aio.ServicerContext
    ) -> account_pb2.EnrolAccountResponse:
        """Make a one-time link."""
        link = await self._accounts.issue(
            operator=request.operator, caller=caller(), request_id=request.request_id
        )
        return account_pb2.EnrolAccountResponse(
            url=link.url, expire_time=timestamp(link.expire_time_ns)
        )

    async def ListPasskeys(  # noqa: N802
        self, request: account_pb2.ListPasskeysRequest, context: grpc.aio.ServicerContext
    ) -> account_pb2.ListPasskeysResponse:
        """List passkeys, oldest first."""
        limit, offset = page_of(request.page_size, request.page_token)
        found = await self._accounts.list(request.operator)
        return account_pb2.ListPasskeysResponse(
            passkeys=[_message(passkey) for passkey in found[offset : offset + limit]],
            next_page_token=str(offset + limit) if offset + limit < len(found) else "",
        )

    async def RemovePasskey(  # noqa: N802
        self, request: account_pb2.RemovePasskeyRequest, context: grpc.aio.ServicerContext
    ) -> account_pb2.RemovePasskeyResponse:
        """Remove a passkey for good."""
        check_request_id(request.request_id)
        passkey, was_gone = await self._accounts.remove(
            operator=request.operator, credential_id=request.credential, caller=caller()
        )
        return account_pb2.RemovePasskeyResponse(
            passkey=_message(passkey), repeated_request=was_gone
        )


def _message(passkey: Passkey) -> account_pb2.Passkey:
    message = account_pb2.Passkey(
        credential=passkey.credential_id,
        operator=passkey.operator,
        display_name=passkey.name,
        author=passkey.author,
        create_time=timestamp(passkey.create_time_ns),
        public_key_sha256=passkey.public_key_sha256,
        confirmed=passkey.is_seen,
    )
    if passkey.use_time_ns:
        message.use_time.CopyFrom(timestamp(passkey.use_time_ns))
    return message
