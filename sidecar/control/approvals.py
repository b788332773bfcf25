# SPDX-License-Identifier: Apache-2.0
"""The approval service of this version: it is in the contract and answers UNIMPLEMENTED."""

from __future__ import annotations

from sidecar.api.v1 import approval_pb2_grpc

__all__ = ["ApprovalServicer"]


class ApprovalServicer(approval_pb2_grpc.ApprovalServiceServicer):
    """Inherits UNIMPLEMENTED for every method; permissions are checked all the same."""
