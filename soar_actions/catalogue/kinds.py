# SPDX-License-Identifier: Apache-2.0
"""The four kinds of action, with all that follows from the kind."""

from __future__ import annotations

from typing import Final

from soar_actions.catalogue.action import (
    Action,
    ActionEffect,
    Approval,
    ErrorNote,
    Mappings,
    Output,
    Parameter,
    RetryClass,
    Tier,
)
from soar_actions.catalogue.common import (
    COMMON_ERRORS,
    HELD_ERRORS,
    IDEMPOTENCY_KEY,
    KEY_CONFLICT,
    KEY_RECIPE,
)
from soar_actions.catalogue.loosening import RELEASE_ERRORS, RELEASE_OUTPUTS

__all__ = ["loosens", "reads", "records", "tightens"]

_NOTHING: Final = Mappings()
_WIDE: Final = (
    "Tightening needs one operator or automation. Only where it reaches much of the fleet, or an "
    "agent that is protected, must another human grant it first: the status is PENDING until then."
)
_SECOND: Final = (
    "Always: a human other than whoever asks must grant it, two if automation asks. Until then the "
    "status is PENDING and the directive holds."
)

_BY_NAME: Final = (
    "Named otherwise than by its epoch, each directive has a key of its own, made from this one and "
    "its epoch: run again, the end of none is asked for twice, but that of one ordered since is."
)


def reads(
    name: str,
    description: str,
    *,
    parameters: tuple[Parameter, ...],
    outputs: tuple[Output, ...],
    errors: tuple[ErrorNote, ...] = (),
    mappings: Mappings = _NOTHING,
    permission: str = "contain",
    deadline_s: int = 30,
    is_poll: bool = False,
) -> Action:
    """Return an action that changes nothing."""
    return Action(
        name=name,
        description=description,
        effect=ActionEffect.READ,
        tier=Tier.LOW,
        approval=Approval.NEVER,
        approval_note="None.",
        reversal="",
        permission=permission,
        retry=RetryClass.ALWAYS,
        idempotency="Reads only.",
        parameters=parameters,
        outputs=outputs,
        errors=(*errors, *COMMON_ERRORS),
        mappings=mappings,
        deadline_s=deadline_s,
        is_poll=is_poll,
    )


def tightens(
    name: str,
    description: str,
    *,
    reversal: str,
    parameters: tuple[Parameter, ...],
    outputs: tuple[Output, ...],
    tier: Tier = Tier.HIGH,
    can_be_held: bool = True,
    idempotency: str = KEY_RECIPE,
    errors: tuple[ErrorNote, ...] = (),
    mappings: Mappings = _NOTHING,
    deadline_s: int = 30,
) -> Action:
    """Return an action that contains, blocks or revokes."""
    return Action(
        name=name,
        description=description,
        effect=ActionEffect.CONTAIN,
        tier=tier,
        approval=Approval.POLICY if can_be_held else Approval.NEVER,
        approval_note=_WIDE
        if can_be_held
        else "None: tightening needs one operator or automation.",
        reversal=reversal,
        permission="contain",
        retry=RetryClass.WITH_SAME_KEY,
        idempotency=idempotency,
        parameters=(*parameters, IDEMPOTENCY_KEY),
        outputs=outputs,
        errors=(KEY_CONFLICT, *errors, *(HELD_ERRORS if can_be_held else ()), *COMMON_ERRORS),
        mappings=mappings,
        deadline_s=deadline_s,
    )


def loosens(
    name: str,
    description: str,
    *,
    reversal: str,
    parameters: tuple[Parameter, ...],
    mappings: Mappings = _NOTHING,
) -> Action:
    """Return an action that asks for the end of directives."""
    return Action(
        name=name,
        description=description,
        effect=ActionEffect.LOOSEN,
        tier=Tier.HIGH,
        approval=Approval.ALWAYS,
        approval_note=_SECOND,
        reversal=reversal,
        permission="release",
        retry=RetryClass.WITH_SAME_KEY,
        idempotency=f"{KEY_RECIPE} {_BY_NAME}",
        parameters=(*parameters, IDEMPOTENCY_KEY),
        outputs=RELEASE_OUTPUTS,
        errors=RELEASE_ERRORS,
        mappings=mappings,
    )


def records(
    name: str,
    description: str,
    *,
    reversal: str,
    parameters: tuple[Parameter, ...],
    outputs: tuple[Output, ...],
    approval: Approval = Approval.NEVER,
    approval_note: str = "None.",
    errors: tuple[ErrorNote, ...] = (),
    mappings: Mappings = _NOTHING,
) -> Action:
    """Return an action that writes a record or asks humans; it neither tightens nor loosens."""
    held = HELD_ERRORS if approval is not Approval.NEVER else ()
    return Action(
        name=name,
        description=description,
        effect=ActionEffect.RECORD,
        tier=Tier.LOW,
        approval=approval,
        approval_note=approval_note,
        reversal=reversal,
        permission="contain",
        retry=RetryClass.WITH_SAME_KEY,
        idempotency=KEY_RECIPE,
        parameters=(*parameters, IDEMPOTENCY_KEY),
        outputs=outputs,
        errors=(KEY_CONFLICT, *errors, *held, *COMMON_ERRORS),
        mappings=mappings,
    )
