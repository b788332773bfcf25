# SPDX-License-Identifier: Apache-2.0
"""Asks for the end of standing directives, each of which a human must grant.

Every directive has a release of its own, with a key derived from its epoch. Run again with the same
key, each answers how it stands; those that are released are not asked for again, because they do not
stand any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from soar_actions.errors import ActionError, ErrorClass, clean_text
from soar_actions.handlers.held import operation_data, pending, pending_data
from soar_actions.handlers.reading import (
    derived_key,
    has,
    message,
    messages,
    number,
    required,
    text,
)
from soar_actions.handlers.render import directive_data
from soar_actions.steps import Call, Result, Status, Steps

__all__ = ["release", "release_matching", "require_one"]

_MAX_DIRECTIVES: Final = 100


def require_one(action: str, **choices: str) -> None:
    """Check that exactly one of *choices* is given.

    Raises:
        ActionError: None is, or more than one.
    """
    if sum(bool(value) for value in choices.values()) != 1:
        names = " or ".join(choices)
        raise ActionError(
            ErrorClass.BAD_INPUT,
            f"{action} takes either {names}",
            remedy=f"give one of {names}, and not both; the epoch stands in the receipt",
        )


def release(epoch: str, key: str, reason: str) -> Steps:
    """Ask for the end of the directive *epoch*: PENDING until a human has granted it."""
    item = yield from _one(int(epoch), key, reason)
    if item["status"] == Status.FAILED.value:
        raise item["raised"]
    return _result([item], f"directive {epoch}")


def release_matching(target: Mapping[str, Any], key: str, reason: str, *, what: str) -> Steps:
    """Ask for the end of every standing directive whose target is exactly *target*.

    That there is none is a success that changed nothing: what was wanted is so.
    """
    body = {"target": target, "pageSize": _MAX_DIRECTIVES}
    answer = yield Call("ContainmentService/ListDirectives", body)
    epochs = {number(item, "epoch") for item in messages(answer, "directives")}
    if len(epochs) > _MAX_DIRECTIVES or text(answer, "nextPageToken"):
        raise ActionError(
            ErrorClass.REFUSED,
            f"more than {_MAX_DIRECTIVES} directives hold {what}: too many for one action",
            reason="TOO_MANY",
            remedy="release them one by one, by their epochs",
        )
    items = []
    for epoch in sorted(epochs):
        items.append((yield from _one(epoch, derived_key(key, str(epoch)), reason)))
    if items and all(item["status"] == Status.FAILED.value for item in items):
        raise items[0]["raised"]
    return _result(items, what)


def _one(epoch: int, key: str, reason: str) -> Any:
    """Return how the release of one directive stands."""
    body = {"requestId": key, "epoch": str(epoch), "reason": reason}
    try:
        answer = yield Call("ContainmentService/Release", body)
        operation = message(answer, "operation")
        if has(answer, "directive"):
            return _item(epoch, Status.SUCCESS, "released", answer=answer, operation=operation)
        waits = pending(required(answer, "operation"))
        return _item(epoch, waits.status, waits.summary, operation=operation)
    except ActionError as exc:
        if exc.is_retryable:
            raise
        return _item(epoch, Status.FAILED, exc.message, error=exc)


def _item(
    epoch: int,
    status: Status,
    said: str,
    *,
    answer: Mapping[str, Any] | None = None,
    operation: Mapping[str, Any] | None = None,
    error: ActionError | None = None,
) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "status": status.value,
        "summary": clean_text(said),
        "reason": error.reason if error else "",
        "remedy": error.remedy if error else "",
        "raised": error,
        "message": operation or {},
        "answer": answer or {},
    }


def _result(items: list[dict[str, Any]], what: str) -> Result:
    """Return all *items* as one result; the first that waits is the one to follow."""
    statuses = [item["status"] for item in items]
    waiting = [item for item in items if item["status"] == Status.PENDING.value]
    answers = [item["answer"] for item in items if item["answer"]]
    released = [directive_data(message(answer, "directive")) for answer in answers]
    # What is left is what the newest release left.
    remaining = (
        [directive_data(each) for each in messages(answers[-1], "remaining")] if answers else []
    )
    data: dict[str, Any] = {
        "changed": bool(released),
        "releases": [
            {
                "epoch": item["epoch"],
                "status": item["status"],
                "summary": item["summary"],
                "reason": item["reason"],
                "remedy": item["remedy"],
                "operation": text(item["message"], "name"),
                "approval": text(item["message"], "approval"),
                "link": text(item["message"], "url"),
            }
            for item in items
        ],
        "remaining": remaining,
    }
    if released:
        data["directive"] = released[-1]
        data["epoch"] = number(answers[-1], "epoch")
    if waiting:
        data.update(pending_data(waiting[0]["message"]))
        said = "; ".join(item["summary"] for item in waiting)
        for item in items:
            if item["status"] == Status.FAILED.value:
                said += f"; FAILED: directive {item['epoch']}: {item['summary']}"
        return Result(status=Status.PENDING, summary=said, data=data)
    if answers and items[-1]["message"]:
        data["operation"] = operation_data(items[-1]["message"])
    if not items:
        said = f"no standing directive has exactly this target: {what}; nothing to release"
        return Result(status=Status.SUCCESS, summary=said, data=data)
    said = ", ".join(f"directive {item['epoch']}: {item['summary']}" for item in items)
    if remaining:
        said += f"; still held by {', '.join(str(item['epoch']) for item in remaining)}"
    is_whole = set(statuses) == {Status.SUCCESS.value}
    return Result(status=Status.SUCCESS if is_whole else Status.PARTIAL, summary=said, data=data)
