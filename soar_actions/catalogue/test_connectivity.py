# SPDX-License-Identifier: Apache-2.0
"""test connectivity: is the asset set up right?."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import FieldType, Output
from soar_actions.catalogue.kinds import reads

__all__ = ["TEST_CONNECTIVITY"]

TEST_CONNECTIVITY: Final = reads(
    "test connectivity",
    "Check that control can be reached, that its certificate is trusted and that it accepts the "
    "credential. Works with every role and changes nothing.",
    parameters=(),
    outputs=(Output("connected", "True; anything else is an error.", True, FieldType.BOOLEAN),),
)
