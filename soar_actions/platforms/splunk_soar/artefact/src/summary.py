# SPDX-License-Identifier: Apache-2.0
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: UP045
"""The few values of an outcome that every action shows beside its data."""

from typing import Optional

from soar_sdk.action_results import ActionOutput, OutputField

__all__ = ["Summary"]


class Summary(ActionOutput):
    """How it ended, and what to do about it."""

    status: Optional[str] = OutputField(example_values=["SUCCESS", "PENDING", "PARTIAL", "FAILED"])
    summary: Optional[str] = OutputField(example_values=["agent banking is held at KILL"])
    error_class: Optional[str] = OutputField(example_values=["REFUSED"])
    reason: Optional[str] = OutputField(example_values=["PERMISSION_MISSING"])
    remedy: Optional[str] = OutputField(example_values=["ask an operator who may"])
    retryable: Optional[bool] = OutputField()
    operation: Optional[str] = OutputField(
        cef_types=["holdfast operation"], example_values=["operations/apr_0123"]
    )
    operation_state: Optional[str] = OutputField(example_values=["PENDING_APPROVAL"])
    link: Optional[str] = OutputField(
        cef_types=["url"], example_values=["https://control.example:7444/approvals/apr_0123"]
    )
    idempotency_key: Optional[str] = OutputField(example_values=["splunk-0a1b2c3d4e5f"])
