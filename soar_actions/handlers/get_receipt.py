# SPDX-License-Identifier: Apache-2.0
"""get receipt."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.handlers.proof import laggards_of, proved
from soar_actions.handlers.reading import required
from soar_actions.handlers.render import receipt_data
from soar_actions.steps import Call, Result, Status, Steps

__all__ = ["get_receipt"]


def get_receipt(values: Mapping[str, str], _key: str) -> Steps:
    """Return the receipt of a directive as it stands now."""
    answer = yield Call("ContainmentService/GetReceipt", {"epoch": values["epoch"]})
    receipt = receipt_data(required(answer, "receipt"))
    stands, lacks = proved(receipt)
    said = f"directive {receipt['epoch']} ({receipt['target']}, {receipt['level']})"
    said += " is whole" if stands is Status.SUCCESS else " is NOT whole"
    return Result(
        status=Status.SUCCESS,
        summary=said + lacks,
        data={"receipt": receipt, "laggards": laggards_of(receipt)},
    )
