# SPDX-License-Identifier: Apache-2.0
"""Several logs as one timeline: the order, the pages, the tokens."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import UntrustedInputError
from sidecar.investigate.timeline import Cursor, Part, merge, with_outcomes
from sidecar.investigate.values import Event

NEWEST = 2**63 - 1
Logs = Mapping[str, list[int]]


def event(log: str, index: int, time_ns: int) -> Event:
    """Return an event."""
    return Event(time_ns=time_ns, kind="decision", log=log, index=index, decision_id=f"d{index}")


def parts_of(logs: Logs, cursor: Cursor, *, limit: int, looked_at: int) -> dict[str, Part]:
    """Return what a scan of *looked_at* entries of each log finds below the cursor."""
    parts = {}
    for log, below in cursor.below.items():
        times = logs[log]
        wanted = [i for i in range(len(times) - 1, -1, -1) if i < below]
        seen = wanted[: min(limit, looked_at)]
        parts[log] = Part(
            events=[event(log, index, times[index]) for index in seen],
            down_to=seen[-1] if seen else below,
            is_whole=len(seen) == len(wanted),
        )
    return parts


def pages_of(logs: Logs, *, limit: int, looked_at: int) -> list[list[Event]]:
    """Read every page."""
    cursor: Cursor | None = Cursor(since_ns=0, until_ns=9, below=dict.fromkeys(logs, NEWEST))
    pages = []
    while cursor is not None:
        told, cursor = merge(
            parts_of(logs, cursor, limit=limit, looked_at=looked_at), cursor, limit=limit
        )
        pages.append(told)
        assert len(pages) < 1000
    return pages


_LOGS = st.dictionaries(
    st.sampled_from(["control", "gate-a", "gate-b"]),
    st.lists(st.integers(min_value=0, max_value=50), max_size=12),
    min_size=1,
)


@given(_LOGS, st.integers(min_value=1, max_value=7), st.integers(min_value=1, max_value=9))
def test_pages_tell_everything_once_in_the_order_of_each_log(
    logs: Logs, limit: int, looked_at: int
) -> None:
    """However small the pages and the scans, and whatever the clocks did."""
    told = [found for page in pages_of(logs, limit=limit, looked_at=looked_at) for found in page]

    for log, times in logs.items():
        indexes = [found.index for found in told if found.log == log]
        assert indexes == list(range(len(times) - 1, -1, -1))
    assert len(told) == sum(map(len, logs.values()))


@given(_LOGS, st.integers(min_value=1, max_value=7), st.integers(min_value=1, max_value=9))
def test_order_is_one_whatever_the_pages(logs: Logs, limit: int, looked_at: int) -> None:
    """Logs whose clocks go forward are told newest first, on small pages as on one."""
    sorted_logs = {log: sorted(times) for log, times in logs.items()}
    whole = [found for page in pages_of(sorted_logs, limit=99, looked_at=99) for found in page]
    paged = [
        found for page in pages_of(sorted_logs, limit=limit, looked_at=looked_at) for found in page
    ]

    assert paged == whole
    assert [found.time_ns for found in whole] == sorted(
        (found.time_ns for found in whole), reverse=True
    )


def test_log_that_was_only_partly_looked_at_is_not_overtaken() -> None:
    """The page ends where it might hold something newer, though it is short then."""
    cursor = Cursor(since_ns=0, until_ns=9, below={"a": NEWEST, "b": NEWEST})
    parts = {
        "a": Part(events=[event("a", 5, 50), event("a", 4, 10)], down_to=4, is_whole=True),
        "b": Part(events=[], down_to=8, is_whole=False),
    }

    told, rest = merge(parts, cursor, limit=10)

    assert told == []
    assert rest is not None
    assert rest.below == {"a": NEWEST, "b": 8}


def test_token_carries_the_cursor_to_the_same_question() -> None:
    """What a token was made of comes back from it."""
    cursor = Cursor(since_ns=3, until_ns=2**60, below={"control": 7, "gate": NEWEST})
    token = cursor.token(agent="alpha", session="")

    assert Cursor.of_token(token, agent="alpha", session="", logs=["control", "gate"]) == cursor


def _forged(**changes: object) -> str:
    token = Cursor(since_ns=3, until_ns=9, below={"control": 7}).token(agent="alpha", session="s")
    body = json.loads(base64.urlsafe_b64decode(token)) | changes
    return base64.urlsafe_b64encode(json.dumps(body).encode()).decode()


@pytest.mark.parametrize(
    "token",
    [
        "x", "é", "AAAA", base64.urlsafe_b64encode(b"[]").decode(), "A" * 70_000,
        _forged(b={}), _forged(b={"other": 7}), _forged(b=7), _forged(b={"control": -1}),
        _forged(b={"control": True}), _forged(b={"control": "7"}), _forged(b={"control": 2**64}),
        _forged(q="0" * 16), _forged(v=2), _forged(s=None), _forged(u=-1), _forged(u=1.5),
    ],
    ids=lambda token: token[:6] + str(len(token)),
)  # fmt: skip
def test_token_of_no_question_is_refused(token: str) -> None:
    """What was not given for this question opens nothing, and raises nothing else."""
    with pytest.raises(UntrustedInputError):
        Cursor.of_token(token, agent="alpha", session="s", logs=["control", "gate"])


@pytest.mark.parametrize(("agent", "session"), [("beta", "s"), ("alpha", ""), ("alpha", "t")])
def test_token_of_another_question_is_refused(agent: str, session: str) -> None:
    """Neither of another agent nor of another session."""
    token = _forged()

    with pytest.raises(UntrustedInputError):
        Cursor.of_token(token, agent=agent, session=session, logs=["control"])


def test_token_of_this_question_negative_control() -> None:
    """The token of the two tests above is a good one, unchanged and for its question."""
    cursor = Cursor.of_token(_forged(), agent="alpha", session="s", logs=["control"])

    assert cursor.below == {"control": 7}


def test_outcomes_join_decisions_only() -> None:
    """A decision gets its outcome; another event that names the decision does not."""
    call = event("gate", 1, 1)
    vote = Event(time_ns=2, kind="approval", log="control", index=2, decision_id="d1")

    joined = with_outcomes([vote, call], {"d1": "ERROR"})

    assert [found.outcome for found in joined] == ["", "ERROR"]
