# SPDX-License-Identifier: Apache-2.0
"""The key ring: not ready, fresh, stale, and whose keys are whose."""

from __future__ import annotations

import pytest

from sidecar.model import ReasonCode
from sidecar.tokens.claims import Rejection
from sidecar.tokens.issuers import IssuerSpec
from sidecar.tokens.jwks import KeySet
from sidecar.tokens.keys import KeyRing, KeyState


def spec(name: str, **changes) -> IssuerSpec:
    return IssuerSpec(
        name=name,
        issuer=f"https://{name}.example",
        audience="holdfast",
        algorithms=frozenset({"EdDSA"}),
        jwks_file="jwks.json",
        **changes,
    )


@pytest.fixture
def ring(clock):
    issuers = {"corp": spec("corp", max_key_age_s=60), "other": spec("other")}
    return KeyRing(issuers=issuers, clock=clock)


def code(ring, name="corp"):
    current = ring.current(name)
    return current.code if isinstance(current, Rejection) else None


def test_f06_keys_are_not_ready_before_the_first_set(ring):
    """An issuer without keys is NOT_READY, and so is one that nobody configured."""
    assert code(ring) is ReasonCode.NOT_READY
    assert code(ring, "nobody") is ReasonCode.NOT_READY


def test_f06_keys_of_one_issuer_do_not_make_another_ready(ring, idp, clock):
    """Law 5: nothing is looked up across issuers."""
    ring.put("corp", idp.key_set("ed"), as_of_boot_ns=clock.boot_ns())

    assert code(ring, "other") is ReasonCode.NOT_READY


def test_f11_last_good_set_counts_until_its_age_is_over(ring, idp, clock):
    """To the nanosecond of max_key_age, then ISSUER_KEYS_STALE."""
    ring.put("corp", idp.key_set("ed"), as_of_boot_ns=clock.boot_ns())
    ring.note_failure("corp", "down")
    clock.advance(seconds=60)
    at_the_limit = code(ring)
    clock.advance(seconds=1e-9)

    assert (at_the_limit, code(ring)) == (None, ReasonCode.ISSUER_KEYS_STALE)


def test_f11_staleness_negative_control(ring, idp, clock):
    """Without an age, keys would count for ever."""
    ring.put("corp", idp.key_set("ed"), as_of_boot_ns=clock.boot_ns())
    clock.advance(seconds=10**6)
    ring._max_age_ns["corp"] = 10**30

    assert code(ring) is None


def test_f11_wall_clock_does_not_renew_keys(ring, idp, clock):
    """A wall clock set back leaves the age as it is."""
    ring.put("corp", idp.key_set("ed"), as_of_boot_ns=clock.boot_ns())
    clock.advance(seconds=61)
    clock.step_wall(seconds=-3600)

    assert code(ring) is ReasonCode.ISSUER_KEYS_STALE


def test_f11_age_counts_from_the_start_of_the_reading(ring, idp, clock):
    """A slow answer is as old as the question; one from the future counts from now."""
    began = clock.boot_ns()
    clock.advance(seconds=59)
    ring.put("corp", idp.key_set("ed"), as_of_boot_ns=began)
    clock.advance(seconds=2)
    slow = code(ring)
    ring.put("corp", idp.key_set("ed"), as_of_boot_ns=clock.boot_ns() + 10**15)
    clock.advance(seconds=61)

    assert (slow, code(ring)) == (ReasonCode.ISSUER_KEYS_STALE,) * 2


def test_f11_overtaken_answer_does_not_bring_old_keys_back(ring, idp, clock):
    """An answer to an earlier question that arrives late is dropped."""
    began = clock.boot_ns()
    clock.advance(seconds=1)
    ring.put("corp", idp.key_set("ed2"), as_of_boot_ns=clock.boot_ns())
    is_changed = ring.put("corp", idp.key_set("ed"), as_of_boot_ns=began)
    current = ring.current("corp")

    assert is_changed is False
    assert isinstance(current, KeySet)
    assert set(current.keys) == {"ed2"}


def test_f11_same_bytes_keep_the_same_object_and_renew_its_age(ring, idp, clock):
    """What was verified with a set stays valid while the issuer publishes the same."""
    ring.put("corp", idp.key_set("ed"), as_of_boot_ns=clock.boot_ns())
    first = ring.current("corp")
    clock.advance(seconds=50)
    is_changed = ring.put("corp", idp.key_set("ed"), as_of_boot_ns=clock.boot_ns())
    clock.advance(seconds=50)

    assert is_changed is False
    assert ring.current("corp") is first


def test_put_for_an_unknown_issuer_is_misuse(ring, idp):
    """Only configured issuers have keys."""
    with pytest.raises(ValueError):
        ring.put("nobody", idp.key_set("ed"), as_of_boot_ns=0)


def test_status_tells_how_each_issuer_stands(ring, idp, clock):
    """Health sees state, age, keys and the failures since the last good reading."""
    ring.note_failure("corp", "down")
    ring.note_failure("corp", "slow")
    not_ready = ring.status()[0]
    ring.put("corp", idp.key_set("ed", "ed2"), as_of_boot_ns=clock.boot_ns())
    clock.advance(seconds=30)
    fresh = ring.status()[0]
    clock.advance(seconds=31)
    ring.note_failure("corp", "down")
    stale = ring.status()[0]

    assert (not_ready.state, not_ready.failures, not_ready.last_failure) == (
        KeyState.NOT_READY,
        2,
        "slow",
    )
    assert (fresh.state, fresh.age_s, fresh.key_count, fresh.failures) == (KeyState.FRESH, 30, 2, 0)
    assert (stale.state, stale.age_s, stale.failures) == (KeyState.STALE, 61, 1)
    assert [status.issuer_name for status in ring.status()] == ["corp", "other"]
