# SPDX-License-Identifier: Apache-2.0
"""Sentences, differences, log fields and drawings: values in, values out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from markupsafe import Markup

from sidecar.approvals.values import Request, RequestKind, Tier
from sidecar.canonical import CallParser, canonical_call, canonicalise
from sidecar.model import Role, ToolClass
from sidecar.web import svg
from sidecar.web.diff import Change, compare
from sidecar.web.fields import field_lines
from sidecar.web.graph import MAX_NODES, draw_reach
from sidecar.web.ports import LogEntry, ToolUse, ToolView
from sidecar.web.render import span_text
from sidecar.web.sentence import say
from sidecar.web.svg import element, label
from sidecar.web.timeline_svg import MAX_CALLS, draw_calls
from tests.unit.web.web_kit import parse


def request_of(arguments: dict[str, Any], **changes: Any) -> Request:
    call = CallParser().parse(
        agent="bot", tool="pay", arguments=json.dumps(arguments).encode(), session="s-1"
    )
    fields: dict[str, Any] = {
        "kind": RequestKind.CALL,
        "fingerprint": call.fingerprint,
        "canonical": canonical_call(call),
        "summary": "<b>not this</b>",
        "reason": "",
        "tier": Tier.LOW,
        "role": Role.APPROVE,
        "quorum": 1,
        "is_passkey_needed": False,
        "is_reason_needed": False,
        "expiry_s": 60,
        "grant_life_s": 60,
        "policy_digest": "",
        "epoch": 1,
        "agent": "bot",
        "tool": "pay",
        "session": "s-1",
    }
    return Request(**fields | changes)


# --- the sentence ---------------------------------------------------------------------------------


def test_d18_the_sentence_is_made_from_the_canonical_bytes() -> None:
    """Not from a summary that came beside them."""
    said = say(request_of({"amount": 1240, "to": "cust_8812"}), is_readable=True)

    assert said.text == "Agent bot wants to run pay with amount 1240, to cust_8812."
    assert said.object == "pay (amount 1240, to cust_8812)"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "Agent bot wants to run pay."),
        ({"a": {"b": 1}}, "Agent bot wants to run pay with 1 argument."),
        ({"a": [1], "b": "x" * 99}, "Agent bot wants to run pay with 2 arguments."),
        (
            {"a": 1.50, "b": True, "c": "x", "d": 2},
            "… pay with a 1.5, b true, c x and 1 more argument.",
        ),
        ({"a": "two\nlines", "b": "x"}, "… pay with b x and 1 more argument."),
    ],
)
def test_the_sentence_says_how_much_it_does_not_say(arguments: dict[str, Any], text: str) -> None:
    """A few short values; the rest is counted."""
    said = say(request_of(arguments), is_readable=True)

    assert said.text == text.replace("…", "Agent bot wants to run")


def test_the_sentence_keeps_arguments_from_who_may_not_read_them() -> None:
    """Auditors learn that there is a call, not what is in it."""
    said = say(request_of({"amount": 1240}), is_readable=False)

    assert "1240" not in said.text + said.object


def test_an_action_is_said_in_controls_words() -> None:
    """Who asks, and for what."""
    asked = request_of(
        {},
        kind=RequestKind.ACTION,
        requester="erin",
        action="release",
        summary="erin asks to release directives/17",
    )

    said = say(asked, is_readable=True)

    assert (said.text, said.object) == (
        "erin asks to release directives/17.",
        "release directives/17",
    )


# --- differences ----------------------------------------------------------------------------------


def test_differences_are_found_field_by_field() -> None:
    """Arguments first; added, removed and changed; what is equal is counted."""
    before = canonicalise({"arguments": {"a": 1, "b": "x", "gone": None}, "agent": "bot"})
    after = canonicalise({"arguments": {"a": "1", "b": "x", "new": [True]}, "agent": "tob"})

    found = compare(before, after)

    assert [(item.path, item.change, item.before, item.after) for item in found.fields] == [
        ("arguments.a", Change.CHANGED, "1", '"1"'),
        ("arguments.gone", Change.REMOVED, "null", None),
        ("arguments.new[0]", Change.ADDED, None, "true"),
        ("agent", Change.CHANGED, '"bot"', '"tob"'),
    ]
    assert found.same_count == 1


def test_numbers_are_compared_as_they_are_written() -> None:
    """Nothing is lost to a float on the way."""
    found = compare(b'{"a":9007199254740993}', b'{"a":9007199254740992}')

    assert (found.fields[0].before, found.fields[0].after) == (
        "9007199254740993",
        "9007199254740992",
    )


def test_long_values_are_shown_around_their_first_difference() -> None:
    """The difference at the end of a long text is not cut away."""
    same = "x" * 5000
    found = compare(canonicalise({"a": same + "good"}), canonicalise({"a": same + "evil"}))

    assert "good" in (found.fields[0].before or "")
    assert "evil" in (found.fields[0].after or "")
    assert len(found.fields[0].after or "") < 400


def test_keys_cannot_look_like_paths() -> None:
    """A key with a dot in it is quoted."""
    found = compare(b"{}", canonicalise({"a.b": 1, "a": {"b": 2}}))

    assert {item.path for item in found.fields if item.after is not None} == {'"a.b"', "a.b"}


# --- fields ---------------------------------------------------------------------------------------


def test_log_fields_become_lines_of_text() -> None:
    """Nested values by path, lists of words in one line."""
    lines = field_lines({"a": {"b": 1, "c": ["x", "y"]}, "d": [{"e": None}], "v": 1}, without={"v"})

    assert [(line.name, line.value) for line in lines] == [
        ("a.b", "1"),
        ("a.c", "x, y"),
        ("d[0].e", "null"),
    ]


def test_too_many_fields_are_said_to_be_too_many() -> None:
    """Nothing is left out silently."""
    lines = field_lines({f"f{number}": number for number in range(1000)})

    assert len(lines) == 401
    assert lines[-1].value.startswith("600 more")


# --- drawings -------------------------------------------------------------------------------------


def use(name: str, *hosts: str, calls: int = 1, data: str = "") -> ToolUse:
    tool = ToolView(tool=name, tool_class=ToolClass.WRITE, data_class=data)
    return ToolUse(tool=tool, call_count=calls, hosts=hosts)


HOSTILE = '"><script>x</script>\u202e&amp;'


def test_d14_drawings_escape_every_text() -> None:
    """Names, hosts and data classes are text in a drawing too."""
    drawn = draw_reach(HOSTILE, [use(HOSTILE, HOSTILE, data=HOSTILE)], tool=HOSTILE)

    read = parse(drawn)
    assert not read.problems
    assert {item.tag for item in read.elements} == {"svg", "title", "path", "g", "rect", "text"}
    assert "\u202e" not in drawn
    assert "script>x" in "".join(read.texts)


def test_d14_drawings_escape_every_text_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the escape a host becomes an element."""
    monkeypatch.setattr(svg, "escape", Markup)

    drawn = draw_reach("bot", [use("t", "<script>")])

    assert "script" in {item.tag for item in parse(drawn).elements}


def test_drawings_take_only_names_of_ours() -> None:
    """There is no way to draw a script, a style, an event handler or a reference."""
    for make in (
        lambda: element("script"),
        lambda: element("foreignObject"),
        lambda: element("g", onload="x"),
        lambda: element("g", style="x"),
        lambda: element("a", href="x"),
        lambda: element("g x"),
    ):
        with pytest.raises(ValueError):
            make()


def test_attribute_values_cannot_leave_their_quotes() -> None:
    """Quotes and controls in a value stay in it."""
    drawn = element("g", class_='a" onload="x\n')

    assert parse(drawn).elements[0].attributes == {"class": 'a" onload="x\\u{000A}'}


def test_labels_are_cut_with_a_sign() -> None:
    """Long names fit, and one sees that they are longer."""
    assert label("x" * 50, 10) == "x" * 9 + "…"


def test_a_large_reach_stays_small_and_says_what_it_left_out() -> None:
    """At most two dozen nodes; the tool in question is always there."""
    uses = [
        use(f"tool-{number:02}", *(f"h{number}-{host}" for host in range(9)), calls=100 - number)
        for number in range(40)
    ]

    drawn = parse(draw_reach("bot", uses, tool="tool-39"))

    nodes = [item for item in drawn.elements if "node" in item.classes]
    assert len(nodes) <= MAX_NODES + 1
    assert sum("this" in item.classes for item in nodes) == 1
    texts = "".join(drawn.texts)
    assert "tool-39" in texts
    assert "+30 more tools" in texts


def entry(effect: str, number: int) -> LogEntry:
    fields = {
        "effect": effect,
        "tool": "pay",
        "time": f"2026-11-22T10:00:{number:02}.000000Z",
        "decision_id": f"dec_{number}",
    }
    return LogEntry(log="gate", index=number, fields=fields)


def test_lanes_have_words_and_shapes() -> None:
    """Colour alone tells nothing apart."""
    drawn = parse(
        draw_calls([entry("ALLOW", 1), entry("HOLD", 2), entry("DENY", 3)], marked="dec_2")
    )

    kinds = {
        next(iter(item.classes - {"call"})) for item in drawn.elements if "call" in item.classes
    }
    assert kinds == {"allow", "hold", "deny"}
    assert {"allowed", "held", "denied"} <= set(drawn.texts)
    assert "3 calls: 1 allowed, 1 held, 1 denied" in drawn.texts
    assert sum("ring" in item.classes for item in drawn.elements) == 1


def test_only_decisions_are_drawn_and_not_too_many() -> None:
    """Entries without a verdict are left out; of many calls the newest are drawn."""
    entries = [entry("ALLOW", number % 60) for number in range(MAX_CALLS + 20)]

    drawn = parse(draw_calls([entry("<x>", 0), *entries]))

    assert sum("call" in item.classes for item in drawn.elements) == MAX_CALLS


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (61, "1 min 1 s"), (601, "10 min"),
     (3600, "1 h"), (3660, "1 h 1 min"), (86400, "1 d"), (90061, "1 d 1 h")],
)  # fmt: skip
def test_spans_are_said_in_their_two_largest_units(seconds: int, text: str) -> None:
    """Short enough for a list, exact where it matters."""
    assert span_text(seconds * 10**9) == text
