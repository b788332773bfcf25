# SPDX-License-Identifier: Apache-2.0
"""get receipt."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.handlers.reading import message
from soar_actions.handlers.render import receipt_data
from soar_actions.steps import Call, Result, Status, Steps

__all__ = ["get_receipt"]


def get_receipt(values: Mapping[str, str], _key: str) -> Steps:
    """Return the receipt of a directive as it stands now."""
    answer = yield Call("ContainmentService/GetReceipt", {"epoch": values["epoch"]})
    receipt = receipt_data(message(answer, "receipt"))
    laggards = [item["gate"] for item in receipt["gates"] if item["state"] != "ENFORCED"]
    said = f"directive {receipt['epoch']} ({receipt['target']}, {receipt['level']})"
    said += " is enforced by every gate" if not laggards else f" lags at {', '.join(laggards)}"
    return Result(
        status=Status.SUCCESS, summary=said, data={"receipt": receipt, "laggards": laggards}
    )
