# SPDX-License-Identifier: Apache-2.0
"""``holdfast approvals``: what is shown, what a grant is held to, how a watch ends."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from hashlib import sha256

import pytest

from sidecar.api.v1 import approval_pb2
from sidecar.canonical import canonicalise, fingerprint_words
from sidecar.cli.approval_views import pretty_canonical
from sidecar.cli.exits import Exit
from sidecar.errors import ErrorReason, NotFoundError, RefusedError

Approval = approval_pb2.Approval
Decide = approval_pb2.DecideApprovalRequest


def id_of(approval) -> str:
    return approval.name.removeprefix("approvals/")


def votes_sent(host) -> list:
    return [request for request in host.control.requests if isinstance(request, Decide)]


@pytest.fixture
def attended(monkeypatch):
    """Somebody sits at the terminal."""
    monkeypatch.setattr("sidecar.cli.approvals._is_attended", lambda: True)


# -- looking --------------------------------------------------------------------------------------


def test_what_waits_is_listed_with_its_whole_name(host, holdfast):
    """A name can be copied from a list: it is never cut or folded."""
    first, second = host.control.ask(), host.control.ask(tier="HIGH", agent="travel")
    host.control.ask(state=Approval.STATE_REFUSED)

    shown = holdfast("approvals", "list")
    data = holdfast("approvals", "list", "--json").json()

    assert shown.code == Exit.OK
    assert f"{second.name}  PENDING  HIGH" in shown.out
    assert "0 of 1 granted" in shown.out
    assert data["kind"] == "ApprovalList"
    assert [row["name"] for row in data["approvals"]] == [second.name, first.name]
    assert data["next_page_token"] is None


def test_lists_narrow(host, holdfast):
    """--all, --agent, --mine and pages are control's to apply, and it is asked for them."""
    host.control.ask(agent="travel")
    over = host.control.ask(state=Approval.STATE_EXPIRED, approvers=["local"])

    everything = holdfast("approvals", "list", "--all", "--json").json()["approvals"]
    agent = holdfast("approvals", "list", "--all", "--agent", "banking", "--json").json()
    mine = holdfast("approvals", "list", "--all", "--mine", "--json").json()["approvals"]
    paged = holdfast("approvals", "list", "--all", "--limit", "1")
    nothing = holdfast("approvals", "list", "--agent", "nobody")

    assert len(everything) == 2
    assert [row["name"] for row in agent["approvals"]] == [over.name]
    assert [row["name"] for row in mine] == [over.name]
    assert f"--page-token {over.name}" in paged.out
    assert nothing.code == Exit.OK
    assert "nothing waits" in nothing.out


def test_a_request_is_shown_in_the_order_in_which_a_human_decides(host, holdfast):
    """Sentence, standing, exactly what would run, why, where; like the console's page."""
    approval = host.control.ask(tier="HIGH", quorum=2, reason_required=True, passkey_required=True)

    result = holdfast("approvals", "show", id_of(approval))

    assert result.code == Exit.OK
    places = [
        result.out.index(part)
        for part in (
            "agent banking wants to run send_money",
            "PENDING",
            "HIGH",
            "0 of 2 granted; each needs a reason and a passkey",
            "alice, bob (role approve)",
            "agent banking, session s-1",
            "exactly what would run",
            '"recipient": "GB29"',
            "fingerprint",
            "more than 1000 euros",
            "hold-large",
            "https://console.example/approvals/",
        )
    ]
    assert places == sorted(places)
    assert "2026-" in result.out  # absolute, with its zone
    assert "ago)" in result.out or "(in " in result.out


def test_the_deadline_is_told_both_ways(host, holdfast, monkeypatch):
    """In UTC and in what is left of it."""
    approval = host.control.ask()
    moment = (approval.create_time.seconds + 60) * 10**9
    monkeypatch.setattr("sidecar.cli.approvals.SystemClock.wall_ns", lambda self: moment)

    result = holdfast("approvals", "show", id_of(approval))

    assert "2026-09-21T14:43:20.000Z (in 29 min 0 s)" in result.out


def test_earlier_votes_and_the_result_are_shown(host, holdfast):
    """Who decided, how, with or without a passkey, why, and what came of it."""
    approval = host.control.ask(
        state=Approval.STATE_CONSUMED,
        detail="granted by alice at 12:00 UTC; used at 12:01",
        consuming_decision_id="dec_7",
        operation="operations/apr_" + "0" * 31 + "1",
        votes=[
            Approval.Vote(
                operator="alice", verdict=Approval.VERDICT_GRANT, reason="checked", signed=True,
                channel="console",
            )
        ],
    )  # fmt: skip
    approval.end_time.seconds = approval.create_time.seconds + 9

    result = holdfast("approvals", "show", approval.name)

    for part in ("alice", "GRANT", "console", "signed", "checked", "granted by alice at 12:00",
                 "decision dec_7", "holdfast operations show operations/apr_"):  # fmt: skip
        assert part in result.out
    assert "may decide" not in result.out


def test_json_holds_everything_and_is_ascii(host, holdfast):
    """One versioned object; the canonical bytes as they are, and as text."""
    approval = host.control.ask(arguments={"note": "a\u202eb\x9b\n"})

    result = holdfast("approvals", "show", id_of(approval), "--json")

    row = result.json()["approval"]
    assert result.json()["kind"] == "Approval"
    assert result.out.isascii()
    assert base64.b64decode(row["canonical"]) == approval.canonical
    assert json.loads(row["canonical_text"])["arguments"] == {"note": "a\u202eb\x9b\n"}
    assert sha256(base64.b64decode(row["canonical"])).hexdigest() == row["fingerprint"]
    assert row["state"] == "PENDING"
    assert row["approvers"] == ["alice", "bob"]


def test_d19_the_same_digits_and_words_as_everywhere(host, holdfast):
    """Computed here from the fingerprint, whatever control says they are."""
    approval = host.control.ask(fingerprint_words="0000000000000000 acorn-acorn-acorn-acorn")
    expected = fingerprint_words(approval.fingerprint)

    shown = holdfast("approvals", "show", id_of(approval))
    row = holdfast("approvals", "show", id_of(approval), "--json").json()["approval"]

    assert f"fingerprint  {expected}" in shown.out
    assert row["fingerprint_words"] == expected
    assert "acorn-acorn" not in shown.out


@pytest.mark.parametrize("change", ["canonical", "fingerprint"])
def test_d18_what_does_not_hash_to_its_fingerprint_is_told_and_not_granted(host, holdfast, change):
    """Exit 6, and no vote leaves this machine."""
    approval = host.control.ask()
    if change == "canonical":
        approval.canonical = approval.canonical.replace(b"1240", b"9240")
    else:
        approval.fingerprint = "not one"

    shown = holdfast("approvals", "show", id_of(approval))
    granted = holdfast("approvals", "grant", id_of(approval), "--fingerprint", "0" * 8)

    assert shown.code == granted.code == Exit.INTEGRITY
    assert "do not grant this" in shown.out
    assert "nothing was granted" in granted.err
    assert votes_sent(host) == []


def test_d18_negative_control(host, holdfast, monkeypatch):
    """With the comparison patched out, another amount than the hashed one is granted."""
    monkeypatch.setattr("sidecar.cli.approvals.problem_of", lambda approval: "")
    approval = host.control.ask()
    approval.canonical = approval.canonical.replace(b"1240", b"9240")

    result = holdfast(
        "approvals", "grant", id_of(approval), "--fingerprint", approval.fingerprint[:8]
    )

    assert result.code == Exit.OK
    assert len(votes_sent(host)) == 1


def test_pretty_printing_changes_no_token():
    """White space between tokens is all that is added: numbers and texts stay as they are hashed."""
    value = {"n": [1e21, 0.1, -0.0, 2**53 - 1, []], "t": 'a"{,}:[\\', "o": {"": {}}, "z": None}
    text = canonicalise(value).decode()

    lines = pretty_canonical(text)

    assert json.loads("\n".join(lines)) == json.loads(text)
    assert "".join(line.strip() for line in lines).replace('": ', '":') == text
    assert '  "o": {' in lines
    assert "1e+21," in lines[2]
    assert pretty_canonical('{"a":"x\ny\u2028"}') == ["{", '  "a": "x\\u{a}y\\u{2028}"', "}"]
    assert pretty_canonical('{"a":"open') == ['{"a":"open']


def test_d17_long_arguments_are_shown_to_the_end(host, holdfast):
    """Nothing is cut, however much is in front of it."""
    approval = host.control.ask(arguments={"a": "x" * 1_000_000, "z": "the end"})

    result = holdfast("approvals", "show", id_of(approval))

    assert "x" * 1_000_000 in result.out
    assert '"z": "the end"' in result.out
    assert "bytes" in result.out


def test_texts_of_several_lines_can_be_read(host, holdfast):
    """A script in an argument is also shown line by line, each line behind a bar."""
    approval = host.control.ask(arguments={"script": "set -e\nrm -rf ./x\n│ fake\x1b[2K"})

    result = holdfast("approvals", "show", id_of(approval))

    assert "arguments.script, line by line:" in result.out
    assert "  │ rm -rf ./x\n  │ │ fake\\u{1b}[2K\n" in result.out


@pytest.mark.parametrize(
    ("state", "also"), [(Approval.STATE_PENDING, ""), (Approval.STATE_REFUSED, "not kept")]
)
def test_whoever_may_only_audit_sees_no_call_and_grants_nothing(host, holdfast, state, also):
    """Control left the canonical form out; what cannot be seen is not granted."""
    approval = host.control.ask(canonical=b"", state=state)

    shown = holdfast("approvals", "show", id_of(approval))
    granted = holdfast(
        "approvals", "grant", id_of(approval), "--fingerprint", approval.fingerprint[:8]
    )

    assert "members of the role approve only" in shown.out
    assert also in shown.out
    assert granted.code == Exit.DENIED
    assert votes_sent(host) == []


# -- granting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["eight", "sixteen", "whole", "words"])
def test_a_grant_names_what_was_shown(host, holdfast, form):
    """Eight digits or more, or digits and words; the whole fingerprint travels."""
    approval = host.control.ask()
    whole = approval.fingerprint
    prefix = {
        "eight": whole[:8], "sixteen": whole[:16], "whole": whole, "words": fingerprint_words(whole)
    }[form]  # fmt: skip

    result = holdfast("approvals", "grant", approval.name, "--fingerprint", prefix, "--json")

    (request,) = votes_sent(host)
    assert result.code == Exit.OK
    assert result.json()["kind"] == "ApprovalDecision"
    assert result.json()["approval"]["state"] == "GRANTED"
    assert result.json()["request_id"] == request.request_id
    assert request.fingerprint == whole
    assert request.channel == "cli"
    assert request.name == approval.name
    assert request.verdict == Approval.VERDICT_GRANT


def test_another_fingerprint_grants_nothing(host, holdfast):
    """Exit 2, a clear sentence, no vote; the right digits are not given away."""
    approval = host.control.ask()
    other = host.control.ask(arguments={"recipient": "mallory"})
    words = fingerprint_words(other.fingerprint)

    for wrong in (other.fingerprint[:8], other.fingerprint, words):
        result = holdfast("approvals", "grant", approval.name, "--fingerprint", wrong)

        assert result.code == Exit.USAGE
        assert "not the fingerprint of this request, so nothing was granted" in result.err
        assert approval.fingerprint[:8] not in result.err
    assert votes_sent(host) == []


def test_another_fingerprint_negative_control(host, holdfast, monkeypatch):
    """With the comparison patched out, whoever was shown another request grants this one."""
    monkeypatch.setattr("sidecar.cli.approvals.check_fingerprint", lambda *_: None)
    approval = host.control.ask()

    result = holdfast("approvals", "grant", approval.name, "--fingerprint", "0" * 8)

    assert result.code == Exit.OK
    assert len(votes_sent(host)) == 1


@pytest.mark.parametrize(
    "prefix", ["", "abc1234", "ABCDEF12", "g" * 8, "a" * 65, " abcdef12", "abcdef12\n", "ａbcdef12",
               "abcdef12 one-two-three-four", "0" * 16 + " one-two-three"],
)  # fmt: skip
def test_what_cannot_begin_a_fingerprint_is_told_before_anything_is_asked(host, holdfast, prefix):
    """Too short, not hex, not as shown: exit 2, and control was not asked."""
    approval = host.control.ask()

    result = holdfast("approvals", "grant", approval.name, "--fingerprint", prefix)

    assert result.code == Exit.USAGE
    assert "first 8 hex digits" in result.err
    assert host.control.requests == []


def test_without_a_terminal_a_grant_must_name_its_fingerprint(host, holdfast, attended):
    """A pipe sees nothing, and with --json neither does whoever sits there."""
    approval = host.control.ask()

    with_json = holdfast("approvals", "grant", approval.name, "--json")

    assert with_json.code == Exit.USAGE
    assert "--fingerprint" in with_json.err
    assert host.control.requests == []


def test_a_script_must_name_the_fingerprint(host, holdfast):
    """Nobody is asked where nobody is."""
    approval = host.control.ask()

    result = holdfast("approvals", "grant", approval.name, stdin=approval.fingerprint[:8] + "\n")

    assert result.code == Exit.USAGE
    assert f"holdfast approvals show {approval.name}" in result.err
    assert votes_sent(host) == []


def test_somebody_at_a_terminal_is_shown_it_and_types_its_beginning(host, holdfast, attended):
    """The whole request first, then eight digits."""
    approval = host.control.ask()

    result = holdfast("approvals", "grant", approval.name, stdin=approval.fingerprint[:8] + "\n")

    assert result.code == Exit.OK
    assert result.out.index('"recipient": "GB29"') < result.out.index("✓ granted")
    assert "Type the first 8 digits" in result.err
    assert len(votes_sent(host)) == 1


@pytest.mark.parametrize("typed", ["y\n", "yes\n", "\n", "00000000\n", "abcd\n"])
def test_no_return_key_and_no_yes_grants(host, holdfast, attended, typed):
    """There is no default and no y/N."""
    approval = host.control.ask()

    result = holdfast("approvals", "grant", approval.name, stdin=typed)

    assert result.code == Exit.USAGE
    assert votes_sent(host) == []


def test_a_reason_is_asked_for_where_one_is_needed(host, holdfast, attended):
    """From tier HIGH on; without a terminal control's refusal says so."""
    approval = host.control.ask(tier="HIGH", reason_required=True)
    eight = approval.fingerprint[:8]

    refused = holdfast("approvals", "grant", approval.name, "--fingerprint", eight, "--json")
    asked = holdfast("approvals", "grant", approval.name, stdin=f"{eight}\nINC-7\n")

    assert refused.code == Exit.DENIED
    assert refused.json()["error"]["reason"] == "REASON_NEEDED"
    assert asked.code == Exit.OK
    assert votes_sent(host)[-1].reason == "INC-7"


def test_a_passkey_is_not_a_terminals_to_ask_for(host, holdfast):
    """Exit 3 and the console's link; no vote is sent."""
    approval = host.control.ask(tier="CRITICAL", passkey_required=True)

    result = holdfast(
        "approvals", "grant", approval.name, "--fingerprint", approval.fingerprint[:8], "--json"
    )

    assert result.code == Exit.DENIED
    assert result.json()["error"]["reason"] == "PASSKEY_NEEDED"
    assert approval.url in result.json()["error"]["hint"]
    assert approval.url in result.err
    assert votes_sent(host) == []


def test_a_passkey_that_control_asks_for_by_itself_is_told_alike(host, holdfast):
    """Policy can become stricter between the look and the vote."""
    approval = host.control.ask()
    eight = approval.fingerprint[:8]

    def refuse(request) -> None:
        raise RefusedError("sign it", reason=ErrorReason.PASSKEY_NEEDED)

    host.control.when_decided = refuse
    result = holdfast("approvals", "grant", approval.name, "--fingerprint", eight)

    assert result.code == Exit.DENIED
    assert approval.url in result.err


def test_a_grant_that_needs_more_humans_is_still_held(host, holdfast):
    """Exit 4: the vote counts, the call does not run yet."""
    approval = host.control.ask(quorum=2)

    result = holdfast(
        "approvals", "grant", approval.name, "--fingerprint", approval.fingerprint[:8]
    )

    assert result.code == Exit.HELD
    assert "1 of 2 granted" in result.out


def test_one_refusal_ends_it(host, holdfast):
    """It needs a reason and no fingerprint."""
    approval = host.control.ask()

    without = holdfast("approvals", "refuse", approval.name)
    done = holdfast("approvals", "refuse", id_of(approval), "--reason", "not this customer")

    assert without.code == Exit.USAGE
    assert done.code == Exit.OK
    assert "refused" in done.out
    assert approval.state == Approval.STATE_REFUSED
    assert votes_sent(host)[0].fingerprint == ""


def test_a_late_vote_is_told_what_happened(host, holdfast, attended):
    """Exit 1 and who decided; at a terminal, before anything is asked."""
    approval = host.control.ask(state=Approval.STATE_REFUSED, detail="refused by alice at 12:00")
    eight = approval.fingerprint[:8]

    grant = holdfast("approvals", "grant", approval.name, "--fingerprint", eight)
    asked = holdfast("approvals", "grant", approval.name)
    refuse = holdfast("approvals", "refuse", approval.name, "--reason", "no")

    for result in (grant, asked, refuse):
        assert result.code == Exit.FAILURE
        assert "refused by alice at 12:00" in result.err


def test_a_retry_with_its_request_id_is_the_same_vote(host, holdfast):
    """What had been decided is answered, and nothing new is done."""
    approval = host.control.ask()
    order = ("approvals", "grant", approval.name, "--fingerprint", approval.fingerprint[:8],
             "--reason", "ok", "--request-id", "retry-00")  # fmt: skip

    first, second = holdfast(*order, "--json"), holdfast(*order, "--json")

    assert first.code == second.code == Exit.OK
    assert not first.json()["repeated_request"]
    assert second.json()["repeated_request"]
    assert len(approval.votes) == 1


def test_a_grant_of_an_action_says_where_its_result_will_be(host, holdfast):
    """An operation has the approval's id."""
    approval = host.control.ask(operation="operations/apr_" + "0" * 32)

    result = holdfast(
        "approvals", "grant", approval.name, "--fingerprint", approval.fingerprint[:8]
    )

    assert "holdfast operations show operations/apr_0000" in result.out


# -- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("apr_00000000", "cut off"),
        ("00000000000000000000000000000000", "is not of the form"),
        ("deadbeef", "cut off"),
        ("operations/apr_" + "0" * 32, "did you mean approvals/apr_"),
        ("aprovals/apr_" + "0" * 32, 'did you mean "approvals"?'),
        ("approvals/apr_" + "A" * 32, "is not of the form"),
        ("approvals/approvals/apr_" + "0" * 32, "is not of the form"),
        ("approvals/apr_" + "0" * 32 + "\n", "is not of the form"),
        ("approvals/", "is not of the form"),
        ("\x1b[2J", "is not of the form"),
    ],
)
@pytest.mark.parametrize("verb", ["show", "grant", "refuse"])
def test_names_are_exact(host, holdfast, verb, name, told):
    """A prefix is never completed; a slip says what was meant, and control is not asked."""
    flags = {"show": (), "grant": ("--fingerprint", "0" * 8), "refuse": ("--reason", "x")}[verb]

    result = holdfast("approvals", verb, *flags, "--", name)

    assert result.code == Exit.USAGE
    assert told in result.err
    assert "\x1b" not in result.err
    assert host.control.requests == []


def test_what_is_not_there_fails_alike(host, holdfast):
    """Exit 1, with control's words."""
    host.control.failure = NotFoundError("there is no such approval")

    result = holdfast("approvals", "show", "apr_" + "0" * 32)

    assert result.code == Exit.FAILURE
    assert "there is no such approval" in result.err


def test_a_typo_in_the_verb_is_told(host, holdfast):
    """The near word, before anything travels."""
    result = holdfast("approvals", "grnat", "apr_" + "0" * 32)

    assert result.code == Exit.USAGE
    assert "Did you mean `holdfast approvals grant`?" in result.err


# -- watching -------------------------------------------------------------------------------------


def changed(host, *approvals) -> None:
    async def put() -> None:
        for approval in approvals:
            await host.control.changes.put(approval)

    host.thread.run(put())


def test_every_change_is_one_line_and_the_end_is_told(host, holdfast):
    """What waits, then what changes; a stream that control ends is no success."""
    approval = host.control.ask(summary="agent banking wants\nto run send_money\x1b[2K")
    over = Approval()
    over.CopyFrom(approval)
    over.state, over.detail = Approval.STATE_REFUSED, "refused by alice"
    over.end_time.seconds = approval.create_time.seconds + 5
    changed(host, over, None)

    result = holdfast("approvals", "watch", "--mine")

    first, second = result.out.splitlines()
    assert result.code == Exit.UNAVAILABLE
    assert "control ended the stream" in result.err
    assert "PENDING  MEDIUM  " + approval.name in first
    assert "wants\\u{a}to run send_money\\u{1b}[2K" in first
    assert second.endswith("(refused by alice)")


def test_a_watch_in_json_is_one_object_a_line(host, holdfast):
    """So that a script reads line by line."""
    approval = host.control.ask()
    changed(host, None)

    result = holdfast("approvals", "watch", "--json")

    lines = result.out.splitlines()
    change = json.loads(lines[0])
    assert change["apiVersion"] == "holdfast/v1"
    assert change["kind"] == "ApprovalChange"
    assert change["initial"]
    assert change["approval"]["name"] == approval.name


def test_a_watch_that_is_refused_or_does_not_begin(host, holdfast):
    """Exit 3 with the reason; exit 5 after the deadline."""
    host.control.failure = RefusedError("no role", hint="ask alice")
    refused = holdfast("approvals", "watch")
    host.control.failure, host.control.hang = None, True
    hung = holdfast("approvals", "watch", "--timeout", "0.3", "--json")

    assert refused.code == Exit.DENIED
    assert "no role (ask alice)" in refused.err
    assert hung.code == Exit.UNAVAILABLE


def test_ctrl_c_ends_a_watch_cleanly(host):
    """It is how a watch ends: exit 0 and no traceback."""
    approval = host.control.ask()
    process = subprocess.Popen(
        [sys.executable, "-m", "sidecar.cli.main", "approvals", "watch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ),
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)

    assert approval.name in line
    assert process.returncode == Exit.OK
    assert "Traceback" not in err
