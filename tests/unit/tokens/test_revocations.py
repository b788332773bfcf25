# SPDX-License-Identifier: Apache-2.0
"""Revocation rules and the set of them: what they bite, and for how long."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.clock import NS_PER_SECOND
from sidecar.errors import UntrustedInputError
from sidecar.model import ReasonCode
from sidecar.tokens import revocations as revocations_module
from sidecar.tokens.claims import VerifiedToken
from sidecar.tokens.issuers import MAX_LEEWAY_S, MAX_TOKEN_LIFE_S
from sidecar.tokens.revocations import MAX_SKEW_S, RevocationRule, RevocationSet, merged

NOW_S = 1_760_000_000
ISSUER = "https://idp.example"
DAY_S = 86_400
MATCHING = {
    "jti": "token-1",
    "agent": "banking",
    "session": "s1",
    "issuer": ISSUER,
    "issued_before_s": NOW_S - 10,
}
OTHER = {
    "jti": "token-2",
    "agent": "mailer",
    "session": "s2",
    "issuer": "https://other.example",
    "issued_before_s": NOW_S - 11,
}
SUBSETS = [
    names
    for size in range(1, len(MATCHING) + 1)
    for names in itertools.combinations(MATCHING, size)
]


def is_revoked(rules, claims) -> bool:
    verdict = RevocationSet.empty().with_rules(rules).match(claims)
    assert verdict is None or verdict.code is ReasonCode.TOKEN_REVOKED
    return verdict is not None


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_f01_rule_revokes_what_all_its_selectors_match(make_rule, make_claims, names):
    """Each selector alone and every combination revokes the token that matches all of them."""
    rule = make_rule(**{name: MATCHING[name] for name in names})
    claims = make_claims(session="s1")

    assert rule.matches(claims)
    assert is_revoked([rule], claims)


@pytest.mark.parametrize(
    ("names", "spared"),
    [(names, spared) for names in SUBSETS for spared in names],
    ids=lambda part: part if isinstance(part, str) else "+".join(part),
)
def test_f01_one_selector_that_differs_spares_the_token(make_rule, make_claims, names, spared):
    """A rule is a conjunction: if any one selector does not match, the token lives."""
    rule = make_rule(**{name: (OTHER if name == spared else MATCHING)[name] for name in names})
    claims = make_claims(session="s1")

    assert not rule.matches(claims)
    assert not is_revoked([rule], claims)


def test_f01_any_of_many_rules_revokes(make_rule, make_claims):
    """Rules add up: one that matches among many that do not is enough."""
    spared = [make_rule(jti=f"x{n}", issuer=ISSUER) for n in range(50)] + [
        make_rule(agent="mailer")
    ]

    assert not is_revoked(spared, make_claims())
    assert is_revoked([*spared, make_rule(jti="token-1")], make_claims())


TEXTS = st.sampled_from(["a", "ab", "b", "1:a", "a1:b", "token-1", ISSUER])
MAYBE = st.none() | TEXTS


@settings(max_examples=400, deadline=None)
@given(
    selectors=st.lists(
        st.tuples(MAYBE, MAYBE, MAYBE, MAYBE, st.none() | st.integers(90, 110)), max_size=6
    ),
    token=st.tuples(TEXTS, TEXTS, st.just("") | TEXTS, TEXTS, st.integers(90, 110)),
    auth_time=st.none() | st.integers(80, 120),
)
def test_f01_set_agrees_with_its_rules(selectors, token, auth_time):
    """The indexed set says revoked exactly if one of its rules, read one by one, matches."""
    rules = [
        RevocationRule(
            jti=jti,
            agent=agent,
            session=session,
            issuer=issuer,
            issued_before_s=before,
            author="a",
            reason="r",
            epoch=1,
            create_time_ns=100 * NS_PER_SECOND,
        )
        for jti, agent, session, issuer, before in selectors
        if any((jti, agent, session, issuer, before is not None))
    ]
    jti, agent, session, issuer, issued_s = token
    claims = VerifiedToken(
        issuer_name="n",
        issuer=issuer,
        jti=jti,
        subject=agent,
        agent=agent,
        session=session,
        issue_time_s=issued_s,
        expire_time_s=issued_s + 60,
        auth_time_s=auth_time,
    )

    assert is_revoked(rules, claims) is any(rule.matches(claims) for rule in rules)


def test_f01_lengths_keep_joined_values_apart(make_rule, make_claims):
    """``ab`` + ``c`` is not ``a`` + ``bc``."""
    rule = make_rule(jti="ab", session="c")

    assert is_revoked([rule], make_claims(jti="ab", session="c"))
    assert not is_revoked([rule], make_claims(jti="a", session="bc"))


def test_f01_joined_values_negative_control(make_rule, make_claims, monkeypatch):
    """With keys that are merely joined, a rule would hit another token."""
    monkeypatch.setattr(
        revocations_module,
        "_key",
        lambda mask, jti, agent, session, issuer: (jti + session).encode(),
    )

    assert is_revoked([make_rule(jti="ab", session="c")], make_claims(jti="a", session="bc"))


@pytest.mark.parametrize("age_s", [-3600, -61, -60, -2, -1, 0, 1, 2, 60, 61, 3600])
def test_f03_issued_before_is_exact_to_the_second(make_rule, make_claims, age_s):
    """iat <= T is revoked, T + 1 s is not; no skew or leeway moves that line."""
    rule = make_rule(agent="banking", issued_before_s=NOW_S)
    claims = make_claims(issue_time_s=NOW_S + age_s)

    assert is_revoked([rule], claims) is (age_s <= 0)


@pytest.mark.parametrize("skew_s", [-60, 60, -86_400, 86_400])
def test_f03_no_local_clock_enters(bench, make_rule, skew_s):
    """With the gate's clock wrong by a minute or a day, the same tokens are revoked."""
    revocations = RevocationSet.empty().with_rules(
        [make_rule(agent="banking", issued_before_s=NOW_S)]
    )
    old = bench.good(bench.idp.token(iat=NOW_S))
    new = bench.good(bench.idp.token(iat=NOW_S + 1, jti="token-2"))
    bench.clock.step_wall(seconds=skew_s)

    assert revocations.match(old) is not None
    assert revocations.match(new) is None


def test_f03_negative_control(make_rule, make_claims, monkeypatch):
    """If leeway entered the comparison, a token issued up to T could escape."""
    lenient = property(lambda claims: claims.issue_time_s + 30)
    monkeypatch.setattr(VerifiedToken, "origin_time_s", lenient)

    assert not is_revoked(
        [make_rule(agent="banking", issued_before_s=NOW_S)], make_claims(issue_time_s=NOW_S)
    )


@pytest.mark.parametrize("selector", ["agent", "issuer"])
def test_f03_agent_and_issuer_rules_end_what_was_issued_so_far(make_rule, make_claims, selector):
    """Without a T the rule takes its own second, so a token issued after a release works."""
    rule = make_rule(**{selector: MATCHING[selector]})

    assert rule.issued_before_s == NOW_S
    assert is_revoked([rule], make_claims(issue_time_s=NOW_S))
    assert not is_revoked([rule], make_claims(issue_time_s=NOW_S + 1))


def test_f07_session_rule_covers_tokens_refreshed_later(make_rule, make_claims):
    """A refreshed token has a new jti and a later iat, and its session is still over."""
    rule = make_rule(session="s1")
    refreshed = make_claims(jti="token-99", session="s1", issue_time_s=NOW_S + 5000)

    assert rule.issued_before_s is None
    assert is_revoked([rule], refreshed)


def test_f07_token_of_an_old_login_is_revoked_however_often_refreshed(make_rule, make_claims):
    """Where the issuer states auth_time, the login counts, not the refresh."""
    rule = make_rule(agent="banking")
    refreshed = make_claims(jti="token-99", issue_time_s=NOW_S + 5000, auth_time_s=NOW_S - 5)
    new_login = make_claims(jti="token-98", issue_time_s=NOW_S + 5000, auth_time_s=NOW_S + 4999)

    assert is_revoked([rule], refreshed)
    assert not is_revoked([rule], new_login)


def test_f07_auth_time_in_the_future_helps_nobody(make_rule, make_claims):
    """An auth_time after iat does not make a token younger than it is."""
    claims = make_claims(issue_time_s=NOW_S - 5, auth_time_s=NOW_S + 500)

    assert is_revoked([make_rule(agent="banking")], claims)


def test_f07_negative_control(make_rule, make_claims, monkeypatch):
    """Judged by iat alone, a refresh outruns the revocation."""
    monkeypatch.setattr(
        VerifiedToken, "origin_time_s", property(lambda claims: claims.issue_time_s)
    )
    refreshed = make_claims(jti="token-99", issue_time_s=NOW_S + 5000, auth_time_s=NOW_S - 5)

    assert not is_revoked([make_rule(agent="banking")], refreshed)


def test_f06_set_that_is_not_yet_known_matches_everything(make_rule, make_claims):
    """Before the standing rules arrived, no token counts; afterwards only revoked ones do not."""
    revocations = RevocationSet.unknown()
    before = revocations.match(make_claims())
    revocations.with_rules([make_rule(jti="token-2")]).mark_known()

    assert before is not None
    assert before.code is ReasonCode.NOT_READY
    assert revocations.is_ready
    assert revocations.match(make_claims()) is None
    assert revocations.match(make_claims(jti="token-2")) is not None


def test_f06_negative_control(make_claims):
    """A set that calls itself known while it is empty lets everything pass."""
    assert RevocationSet.empty().match(make_claims()) is None


def test_f06_rejection_is_not_falsy(make_claims):
    """``if set.match(...)`` cannot be misread: a rejection is true, nothing against is None."""
    assert bool(RevocationSet.unknown().match(make_claims())) is True


def test_adding_a_rule_twice_changes_nothing(make_rule, make_claims):
    """A rule that arrives by the journal and by the snapshot counts once."""
    rule = make_rule(jti="token-1", issuer=ISSUER)
    revocations = RevocationSet.empty().with_rules([rule, rule, rule])

    assert len(revocations) == 1
    assert revocations.epoch == 7


def test_newer_rule_never_narrows_an_older_one(make_rule, make_claims):
    """An earlier T under a later epoch leaves what was revoked revoked."""
    wide = make_rule(agent="banking", issued_before_s=NOW_S, epoch=1)
    narrow = make_rule(agent="banking", issued_before_s=NOW_S - 500, epoch=2)
    claims = make_claims(issue_time_s=NOW_S - 1)

    assert is_revoked([wide, narrow], claims)
    assert is_revoked([narrow, wide], claims)
    assert is_revoked(
        [make_rule(session="s1"), make_rule(session="s1", issued_before_s=5)],
        make_claims(session="s1"),
    )


def test_full_set_rejects_everything_rather_than_forget(make_rule, make_claims):
    """One rule too many: every token is refused, none is let through."""
    revocations = RevocationSet(max_entries=2).with_rules(make_rule(jti=f"t{n}") for n in range(2))
    before = revocations.match(make_claims(jti="innocent"))
    revocations.add(make_rule(jti="t2"))
    after = revocations.match(make_claims(jti="innocent"))

    assert before is None
    assert after is not None
    assert after.code is ReasonCode.NOT_READY
    assert len(revocations) == 2


def test_full_set_still_takes_known_selectors(make_rule):
    """Revoking the same agent again needs no room."""
    revocations = RevocationSet(max_entries=1)
    for epoch in range(5):
        revocations.add(make_rule(agent="banking", epoch=epoch, issued_before_s=NOW_S + epoch))

    assert revocations.is_ready


def test_reader_that_holds_the_set_sees_newer_rules(make_rule, make_claims):
    """Sharing is safe in one direction only, and that is the one there is: tighter."""
    held = RevocationSet.empty()
    held.with_rules([make_rule(jti="token-1")])

    assert held.match(make_claims()) is not None


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"jti": ""},
        {"jti": "a b"},
        {"agent": "x\n"},
        {"issuer": "x" * 513},
        {"session": "ü"},
        {"agent": "a", "issued_before_s": -1},
        {"agent": "a", "issued_before_s": 2**53 + 1},
        {"agent": "a", "expire_time_s": -1},
        {"agent": "a", "epoch": -1},
        {"agent": "a", "epoch": 2**63},
        {"agent": "a", "create_time_ns": -1},
        {"agent": "a", "create_time_ns": 2**63},
        {"agent": "a", "reason": "\ud800"},
        {"agent": "a", "author": "x" * 4097},
    ],
    ids=str,
)
def test_rule_that_selects_nothing_or_nonsense_is_refused(make_rule, change):
    """A rule without a selector, or one that can match no token, is not made."""
    with pytest.raises(UntrustedInputError):
        make_rule(**change)


def test_describe_reads_like_a_sentence(make_rule):
    """People see what is revoked."""
    assert make_rule(jti="t1", issuer=ISSUER).describe() == f"token t1 from issuer {ISSUER}"
    assert (
        make_rule(agent="banking", session="s1", issued_before_s=0).describe()
        == "tokens of agent banking in session s1 issued up to 1970-01-01T00:00:00Z"
    )
    assert "second 9007199254740992" in make_rule(issued_before_s=2**53).describe()


# -- F05: how much, and until when --------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    created_s=st.integers(0, 10 * DAY_S),
    issued_ago_s=st.integers(-MAX_LEEWAY_S, 30 * DAY_S),
    life_s=st.integers(1, MAX_TOKEN_LIFE_S),
    is_expiry_known=st.booleans(),
    before_ahead_s=st.none() | st.integers(0, 5 * DAY_S),
    prunes_s=st.lists(st.integers(0, 20 * DAY_S), max_size=5),
)
def test_f05_no_unexpired_jti_ever_leaves(
    created_s, issued_ago_s, life_s, is_expiry_known, before_ahead_s, prunes_s
):
    """Prune at whatever times up to exp + skew: the revoked token is revoked then."""
    issued_s = NOW_S + created_s - issued_ago_s
    claims = VerifiedToken(
        issuer_name="corp",
        issuer=ISSUER,
        jti="t",
        subject="a",
        agent="a",
        issue_time_s=issued_s,
        expire_time_s=issued_s + life_s,
    )
    revocations = RevocationSet.empty()
    revocations.add(
        RevocationRule(
            jti="t",
            issuer=ISSUER,
            issued_before_s=None if before_ahead_s is None else issued_s + before_ahead_s,
            author="a",
            reason="r",
            epoch=1,
            create_time_ns=(NOW_S + created_s) * NS_PER_SECOND,
            expire_time_s=claims.expire_time_s if is_expiry_known else None,
        )
    )
    last_admission_s = claims.expire_time_s + MAX_SKEW_S
    for prune_s in sorted(prunes_s):
        now_s = min(NOW_S + created_s + prune_s, last_admission_s)
        revocations.prune(now_s=now_s)

        assert revocations.match(claims) is not None


@settings(max_examples=150, deadline=None)
@given(
    rules=st.lists(
        st.tuples(
            st.sampled_from(["t1", "t2", None]),
            st.sampled_from(["a", None]),
            st.integers(0, 3 * DAY_S),
            st.none() | st.integers(0, 6 * DAY_S),
            st.none() | st.integers(0, 3 * DAY_S),
        ),
        max_size=8,
    ),
    prunes_s=st.lists(st.integers(0, 12 * DAY_S), max_size=4),
)
def test_f05_pruning_drops_no_rule_before_its_time(rules, prunes_s):
    """Whatever merged with whatever: a rule that has not yet left still has its effect."""
    made = [
        RevocationRule(
            jti=jti,
            agent=agent,
            issued_before_s=before,
            author="a",
            reason="r",
            epoch=1,
            create_time_ns=created_s * NS_PER_SECOND,
            expire_time_s=expire_s,
        )
        for jti, agent, created_s, expire_s, before in rules
        if jti or agent
    ]
    revocations = RevocationSet.empty().with_rules(made)
    for now_s in sorted(prunes_s):
        revocations.prune(now_s=now_s)
        for rule in made:
            leave_s = rule.leave_time_s()
            if leave_s is not None and leave_s < now_s:
                continue
            issued_s = rule.issued_before_s or 0
            claims = VerifiedToken(
                issuer_name="corp",
                issuer=ISSUER,
                jti=rule.jti or "t1",
                subject="a",
                agent="a",
                issue_time_s=issued_s,
                expire_time_s=issued_s + 60,
            )
            assert revocations.match(claims) is not None


def test_f05_pruned_at_last(make_rule, make_claims):
    """A token-id rule leaves a day and an hour later, give or take the hour's bucket."""
    revocations = RevocationSet.empty().with_rules([make_rule(jti="token-1")])
    horizon_s = NOW_S + MAX_TOKEN_LIFE_S + MAX_SKEW_S
    early = revocations.prune(now_s=horizon_s)
    late = revocations.prune(now_s=horizon_s + 3601)

    assert (early, late, len(revocations)) == (0, 1, 0)
    assert revocations.match(make_claims()) is None


def test_f05_negative_control(make_rule, make_claims, monkeypatch):
    """Pruned by its age alone, a revocation leaves while its token lives."""
    monkeypatch.setattr(
        RevocationRule, "leave_time_s", lambda self: self.create_time_ns // NS_PER_SECOND
    )
    revocations = RevocationSet.empty().with_rules([make_rule(jti="token-1")])
    claims = make_claims(expire_time_s=NOW_S + DAY_S)
    revocations.prune(now_s=NOW_S + 2 * 3600)

    assert claims.expire_time_s > NOW_S + 2 * 3600
    assert revocations.match(claims) is None


def test_f05_known_expiry_never_shortens_the_stay(make_rule, make_claims):
    """A stated expiry that is too early (a lie, a mistake) does not let the rule leave early."""
    honest, lie = make_rule(jti="t"), make_rule(jti="t", expire_time_s=1)

    assert lie.leave_time_s() == honest.leave_time_s()


@pytest.mark.parametrize("selector", ["agent", "session", "issuer"])
def test_f05_rules_that_refreshing_could_outlive_stay(make_rule, make_claims, selector):
    """Agent, session and issuer rules are still there after ten years."""
    revocations = RevocationSet.empty().with_rules([make_rule(**{selector: MATCHING[selector]})])
    revocations.prune(now_s=NOW_S + 3650 * DAY_S)

    assert revocations.match(make_claims(session="s1")) is not None


def test_f05_session_rule_leaves_when_its_stated_end_is_long_past(make_rule):
    """Whoever knows when a session ends can say so."""
    revocations = RevocationSet.empty().with_rules([make_rule(session="s1", expire_time_s=NOW_S)])

    assert revocations.prune(now_s=NOW_S + 2 * DAY_S) == 1


def test_merged_rule_bites_and_stays_like_both(make_rule):
    """Of two rules with equal selectors, one stands for both."""
    early = make_rule(agent="a", issued_before_s=10, epoch=1)
    late = make_rule(agent="a", issued_before_s=20, epoch=2, expire_time_s=NOW_S)
    short = make_rule(jti="t", epoch=1)
    long = make_rule(jti="t", epoch=2, expire_time_s=NOW_S + DAY_S)

    assert merged(early, late) == dataclasses.replace(late, expire_time_s=None)
    assert merged(late, early) == dataclasses.replace(late, expire_time_s=None)
    assert merged(short, long).leave_time_s() == long.leave_time_s()
    assert merged(long, short) == long
    assert merged(early, early) == early


_MILLION = """
import time
from sidecar.tokens.claims import VerifiedToken
from sidecar.tokens.revocations import RevocationRule, RevocationSet
def rss_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
base = rss_kib()
revocations = RevocationSet.empty()
def rule(number):
    return RevocationRule(jti=f"{number:0128d}", issuer="https://idp.example", author="a",
        reason="r", epoch=number, create_time_ns=(1_760_000_000 + number // 20) * 10**9)
for number in range(1_000_000):
    revocations.add(rule(number))
mib = (rss_kib() - base) / 1024
def claims(number):
    return VerifiedToken(issuer_name="corp", issuer="https://idp.example", jti=f"{number:0128d}",
        subject="a", agent="a", issue_time_s=1, expire_time_s=2)
hits = [claims(number) for number in range(0, 1_000_000, 100)]
misses = [claims(number) for number in range(2_000_000, 2_010_000)]
start = time.process_time()
found = sum(revocations.match(c) is not None for c in hits)
missed = sum(revocations.match(c) is not None for c in misses)
each_us = (time.process_time() - start) / 20_000 * 1e6
dropped = revocations.prune(now_s=1_760_000_000 + 30 * 3600)
print(len(revocations) + dropped, found, missed, dropped, round(mib), round(each_us, 2))
"""


def test_f05_a_million_entries_stay_small_and_quick():
    """A million long token ids: under 256 MiB, microseconds a look, none lost."""
    run = subprocess.run(
        [sys.executable, "-c", _MILLION], capture_output=True, text=True, check=True, timeout=120
    )
    total, found, missed, dropped, mib, each_us = run.stdout.split()

    assert (int(total), int(found), int(missed)) == (1_000_000, 10_000, 0)
    assert int(dropped) > 0
    assert int(mib) < 256
    assert float(each_us) < 50
