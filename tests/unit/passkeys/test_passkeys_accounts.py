# SPDX-License-Identifier: Apache-2.0
"""One-time links, and that nobody gets or loses a passkey in silence."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from sidecar.clock import ManualClock
from sidecar.errors import (
    ConflictError,
    EnvironmentFailure,
    HoldfastError,
    NotFoundError,
    PreconditionError,
    RefusedError,
    UntrustedInputError,
)
from sidecar.passkeys import accounts as module
from sidecar.passkeys import store_sqlite
from sidecar.passkeys.accounts import Accounts
from sidecar.passkeys.store_sqlite import MAX_PASSKEYS_PER_HUMAN, PasskeyStore
from sidecar.passkeys.values import Passkey, PasskeyState
from tests.support.authenticator import Authenticator
from tests.support.passkeys import ORIGIN, PasskeyDesk, person

# -- links ----------------------------------------------------------------------------------------


async def test_a_link_is_long_random_and_kept_as_its_hash(desk: PasskeyDesk) -> None:
    """256 bits in the address; in the database only their SHA-256; 15 minutes."""
    link = await desk.accounts.issue(
        operator="alice", caller=desk.people["carol"], request_id="request-1"
    )

    secret = link.url.removeprefix(f"{ORIGIN}/enrol/")
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", secret)
    everything = b"".join(
        path.read_bytes() for path in desk.path.parent.iterdir() if path.is_file()
    )
    assert secret.encode() not in everything
    assert hashlib.sha256(secret.encode()).digest() in everything
    assert secret not in repr(link)
    assert link.expire_time_ns == desk.clock.wall_ns() + 900 * 10**9


async def test_a_link_enrols_one_passkey_once(desk: PasskeyDesk) -> None:
    """The second use finds nothing, and nothing was added by it."""
    secret = await desk.link("alice")
    await desk.make(secret, Authenticator(), name="laptop")

    with pytest.raises(NotFoundError):
        await desk.make(secret, Authenticator())

    assert [item.name for item in await desk.accounts.of_human("alice")] == ["laptop"]


async def race(desk: PasskeyDesk) -> list[Passkey | BaseException]:
    """Let eight devices use one link at once."""
    secret = await desk.link("alice")
    ticket = await desk.accounts.open_ticket(secret)
    challenge = desk.passkeys.new_challenge()
    options = await desk.accounts.registration_options(ticket, challenge=challenge)
    return await asyncio.gather(
        *(
            desk.accounts.enrol(
                secret, challenge=challenge, response=Authenticator().create(options), name="x"
            )
            for _ in range(8)
        ),
        return_exceptions=True,
    )


async def test_d04_a_link_used_at_once_enrols_one(desk: PasskeyDesk) -> None:
    """Of eight devices that use one link at the same moment, one is enrolled."""
    outcomes = await race(desk)

    assert sum(isinstance(outcome, Passkey) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, NotFoundError) for outcome in outcomes) == 7
    assert len(await desk.accounts.of_human("alice")) == 1


async def test_d04_a_link_used_at_once_negative_control(
    desk: PasskeyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the compare-and-swap on its use, several are."""
    monkeypatch.setattr(
        store_sqlite,
        "_USE_TICKET",
        store_sqlite._USE_TICKET.replace("AND use_time_ns = 0", ""),
    )

    outcomes = await race(desk)

    assert sum(isinstance(outcome, Passkey) for outcome in outcomes) > 1


@pytest.mark.parametrize("seconds", [900, 901, 10**6])
async def test_d06_an_old_link_is_no_link(
    desk: PasskeyDesk, clock: ManualClock, seconds: int
) -> None:
    """After fifteen minutes, to the second."""
    secret = await desk.link("alice")
    clock.advance(seconds=899)
    assert (await desk.accounts.open_ticket(secret)).operator == "alice"
    clock.advance(seconds=seconds - 899)

    with pytest.raises(NotFoundError):
        await desk.accounts.open_ticket(secret)


async def test_d06_a_clock_that_is_set_back_revives_no_link(
    desk: PasskeyDesk, clock: ManualClock
) -> None:
    """The boot clock counts on."""
    secret = await desk.link("alice")
    clock.advance(seconds=900)
    clock.step_wall(seconds=-3600)

    with pytest.raises(NotFoundError):
        await desk.accounts.open_ticket(secret)


async def test_d06_a_link_outlives_no_reboot_that_hides_its_age(desk: PasskeyDesk) -> None:
    """After a reboot the boot clock is behind the link's birth: it does not count."""
    secret = await desk.link("alice")
    rebooted = ManualClock(wall_ns=desk.clock.wall_ns() + 10**9, boot_ns=1)
    later = Accounts(
        store=desk.store,
        passkeys=desk.passkeys,
        audit=desk.log,
        operators=desk.people.values,
        console_url=ORIGIN,
        clock=rebooted,
    )

    with pytest.raises(NotFoundError):
        await later.open_ticket(secret)


async def test_a_new_link_voids_the_old_one(desk: PasskeyDesk) -> None:
    """There is at most one open link for an operator, and others' are not touched."""
    first, bobs = await desk.link("alice"), await desk.link("bob")
    second = await desk.link("alice")

    with pytest.raises(NotFoundError):
        await desk.accounts.open_ticket(first)
    assert (await desk.accounts.open_ticket(second)).operator == "alice"
    assert (await desk.accounts.open_ticket(bobs)).operator == "bob"


async def test_a_retry_makes_a_new_link_and_only_for_the_same_order(desk: PasskeyDesk) -> None:
    """The secret of the first is kept nowhere, so a retry replaces it; another body is a conflict."""
    first = await desk.link("alice", request_id="retry-0001")
    second = await desk.link("alice", request_id="retry-0001")

    with pytest.raises(NotFoundError):
        await desk.accounts.open_ticket(first)
    with pytest.raises(ConflictError):
        await desk.link("bob", request_id="retry-0001")
    await desk.make(second, Authenticator())
    with pytest.raises(PreconditionError):
        await desk.link("alice", request_id="retry-0001")


async def test_only_a_human_who_is_in_force_gets_a_link(desk: PasskeyDesk) -> None:
    """Not automation, not a stranger, not a human without a human_id."""
    desk.people["ghost"] = person("ghost", human_id="  ")

    for name, error in (
        ("robot", PreconditionError),
        ("ghost", PreconditionError),
        ("mallory", NotFoundError),
        ("", NotFoundError),
        ("Alice", NotFoundError),
    ):
        with pytest.raises(error):
            await desk.link(name)
    assert desk.log.entries == []


async def test_a_link_for_somebody_who_is_gone_or_another_human_is_no_link(
    desk: PasskeyDesk,
) -> None:
    """Between giving it out and using it, operators.yaml may have changed."""
    secret = await desk.link("alice")
    alice = desk.people.pop("alice")
    with pytest.raises(NotFoundError):
        await desk.accounts.open_ticket(secret)
    desk.people["alice"] = person("alice", human_id="mallory")
    with pytest.raises(NotFoundError):
        await desk.accounts.open_ticket(secret)

    desk.people["alice"] = alice
    assert (await desk.accounts.open_ticket(secret)).human_id == "alice"


async def test_without_a_console_there_is_no_link(desk: PasskeyDesk) -> None:
    """A link would lead nowhere."""
    nowhere = Accounts(
        store=desk.store,
        passkeys=desk.passkeys,
        audit=desk.log,
        operators=desk.people.values,
        console_url="",
        clock=desk.clock,
    )

    with pytest.raises(PreconditionError):
        await nowhere.issue(operator="alice", caller=desk.people["carol"], request_id="request-1")


# -- the log --------------------------------------------------------------------------------------


async def test_who_gave_the_link_and_whose_key_it_is_stands_in_the_log(desk: PasskeyDesk) -> None:
    """An administrator cannot give out a passkey for somebody else in silence."""
    await desk.enrol("alice")

    assert desk.log.events() == ["link_issued", "passkey_added"]
    kind, added = desk.log.entries[-1]
    (passkey,) = await desk.accounts.of_human("alice")
    assert kind == "account"
    assert added["author"] == passkey.author == "carol"
    assert added["operator"] == added["human"] == "alice"
    assert added["credential"] == passkey.credential_id
    assert added["public_key_sha256"] == hashlib.sha256(passkey.public_key).hexdigest()
    assert "secret" not in str(desk.log.entries)


async def test_a_link_that_is_not_in_the_log_is_not_handed_out(desk: PasskeyDesk) -> None:
    """No record, no link."""
    desk.log.is_broken = True

    with pytest.raises(EnvironmentFailure):
        await desk.link("alice")


async def test_a_passkey_that_is_not_in_the_log_opens_nothing(desk: PasskeyDesk) -> None:
    """The link is used up, the passkey is not in force, and a later one can be enrolled."""
    secret = await desk.link("alice")
    device = Authenticator()
    desk.log.is_broken = True
    with pytest.raises(EnvironmentFailure):
        await desk.make(secret, device)
    desk.log.is_broken = False

    challenge = b"c" * 32
    options = await desk.options("alice", challenge)
    options["allowCredentials"] = []
    with pytest.raises(RefusedError):
        await desk.passkeys.authenticate(challenge=challenge, assertion=device.get(options))
    with pytest.raises(NotFoundError):
        await desk.accounts.open_ticket(secret)
    assert await desk.accounts.list() == []
    assert await desk.enrol("alice")


async def test_a_passkey_that_is_not_in_the_log_negative_control(
    desk: PasskeyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it were active at once, a log that fails would leave a passkey nobody knows of."""
    genuine = module.Passkey

    def eager(**fields: Any) -> Passkey:
        return genuine(**{**fields, "state": PasskeyState.ACTIVE})

    monkeypatch.setattr(module, "Passkey", eager)
    secret = await desk.link("alice")
    desk.log.is_broken = True
    with pytest.raises(EnvironmentFailure):
        await desk.make(secret, Authenticator())

    assert len(await desk.accounts.list()) == 1


# -- removing -------------------------------------------------------------------------------------


async def test_an_administrator_removes_a_passkey_even_of_somebody_who_is_gone(
    desk: PasskeyDesk,
) -> None:
    """Removing is tightening; a retry says that it was gone, and records nothing twice."""
    await desk.enrol("alice")
    (passkey,) = await desk.accounts.of_human("alice")
    del desk.people["alice"]
    heard: list[str] = []
    desk.accounts.add_removal_listener(lambda item: heard.append(item.credential_id))

    answers = [
        await desk.accounts.remove(
            operator="alice", credential_id=passkey.credential_id, caller=desk.people["carol"]
        )
        for _ in range(2)
    ]

    assert [was_gone for _, was_gone in answers] == [False, True]
    assert heard == [passkey.credential_id] * 2
    assert desk.log.events().count("passkey_removed") == 1
    assert desk.log.entries[-1][1]["author"] == "carol"


async def test_removing_works_while_the_log_fails(desk: PasskeyDesk) -> None:
    """The caller is told, and the passkey is gone all the same."""
    await desk.enrol("alice")
    (passkey,) = await desk.accounts.of_human("alice")
    desk.log.is_broken = True

    with pytest.raises(EnvironmentFailure):
        await desk.accounts.remove(
            operator="alice", credential_id=passkey.credential_id, caller=desk.people["carol"]
        )

    assert await desk.accounts.of_human("alice") == []


async def test_nobody_removes_or_confirms_what_is_not_theirs(desk: PasskeyDesk) -> None:
    """Another human's passkey, or one under another operator's name, is not found."""
    await desk.enrol("alice")
    (passkey,) = await desk.accounts.of_human("alice")
    mallory = desk.people["bob"]

    for attempt in (
        desk.accounts.remove_own(passkey.credential_id, human_id="bob", operator="bob"),
        desk.accounts.confirm(passkey.credential_id, human_id="bob", by_credential=""),
        desk.accounts.remove(operator="bob", credential_id=passkey.credential_id, caller=mallory),
        desk.accounts.remove(operator="alice", credential_id="not!", caller=mallory),
        desk.accounts.remove(operator="alice", credential_id="AAAA", caller=mallory),
        desk.accounts.list("mallory"),
    ):
        with pytest.raises(NotFoundError):
            await attempt
    assert len(await desk.accounts.of_human("alice")) == 1


async def test_a_removed_credential_id_never_comes_back(desk: PasskeyDesk) -> None:
    """Enrolling under the id of a removed passkey, or of somebody else's, is a conflict."""
    device = await desk.enrol("alice")
    (credential_id,) = device.credentials
    (passkey,) = await desk.accounts.of_human("alice")
    await desk.accounts.remove_own(passkey.credential_id, human_id="alice", operator="alice")
    secret = await desk.link("bob")

    with pytest.raises(ConflictError):
        await desk.make(secret, Authenticator(), credential_id=credential_id)

    assert (await desk.make(secret, Authenticator())).operator == "bob"


# -- telling the owner ----------------------------------------------------------------------------


async def test_a_passkey_that_somebody_else_made_shows_until_its_owner_confirms_it(
    desk: PasskeyDesk,
) -> None:
    """Every other way in is told of it; it cannot confirm itself."""
    await desk.enrol("alice")
    (own,) = await desk.accounts.of_human("alice")
    await desk.enrol("alice")
    intruder = (await desk.accounts.of_human("alice"))[-1]
    if intruder.credential_id == own.credential_id:
        intruder = (await desk.accounts.of_human("alice"))[0]

    seen_by_intruder = await desk.accounts.unseen("alice", by_credential=intruder.credential_id)
    seen_by_owner = await desk.accounts.unseen("alice", by_credential=own.credential_id)
    with pytest.raises(RefusedError):
        await desk.accounts.confirm(
            intruder.credential_id, human_id="alice", by_credential=intruder.credential_id
        )
    await desk.accounts.confirm(
        intruder.credential_id, human_id="alice", by_credential=own.credential_id
    )

    assert [item.credential_id for item in seen_by_owner] == [intruder.credential_id]
    assert [item.credential_id for item in seen_by_intruder] == [own.credential_id]
    assert await desk.accounts.unseen("alice", by_credential=own.credential_id) == []
    assert desk.log.events()[-1] == "passkey_confirmed"


async def test_two_passkeys_of_an_intruder_do_not_vouch_for_each_other(desk: PasskeyDesk) -> None:
    """What one of them confirmed, the owner's own way in still shows; so does OpenID Connect."""
    await desk.enrol("alice")
    (own,) = await desk.accounts.of_human("alice")
    await desk.enrol("alice")
    await desk.enrol("alice")
    one, other = (
        item.credential_id
        for item in await desk.accounts.of_human("alice")
        if item.credential_id != own.credential_id
    )
    for first, second in ((one, other), (other, one)):
        await desk.accounts.confirm(first, human_id="alice", by_credential=second)

    for way in (own.credential_id, ""):
        shown = await desk.accounts.unseen("alice", by_credential=way)
        assert {one, other} <= {item.credential_id for item in shown}


# -- bounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x" * 65, "a\nb", "a\x1b[31m", "\u202egnp"])
async def test_a_name_that_could_mislead_is_refused(desk: PasskeyDesk, name: str) -> None:
    """Control and direction characters, and novels; the link is not used up by it."""
    secret = await desk.link("alice")

    with pytest.raises(UntrustedInputError):
        await desk.make(secret, Authenticator(), name=name)

    assert await desk.accounts.open_ticket(secret)


async def test_a_human_has_a_bounded_number_of_passkeys(desk: PasskeyDesk) -> None:
    """The next is refused, and its link stays good."""
    for _ in range(MAX_PASSKEYS_PER_HUMAN):
        await desk.enrol("alice")
    secret = await desk.link("alice")

    with pytest.raises(PreconditionError):
        await desk.make(secret, Authenticator())

    assert await desk.accounts.open_ticket(secret)


# -- the store ------------------------------------------------------------------------------------


async def test_passkeys_survive_a_restart(desk: PasskeyDesk) -> None:
    """What was enrolled is read back, field by field."""
    await desk.enrol("alice")
    before = await desk.accounts.list()
    desk.store.close()

    again = PasskeyStore(desk.path)

    assert list(again.all()) == list(before)
    again.close()


def test_the_store_is_durable(desk: PasskeyDesk) -> None:
    """WAL, with a sync at every commit."""
    connection = desk.store._connection
    assert connection is not None

    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_store_of_another_version_is_not_used(tmp_path: Path) -> None:
    """Nor is one that is no database; both say what to do."""
    newer = tmp_path / "newer.db"
    PasskeyStore(newer).close()
    with sqlite3.connect(newer) as connection:
        connection.execute("UPDATE passkey_schema SET version = 2")
    connection.close()
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database" * 1000)

    for path in (newer, broken, tmp_path / "none" / "there.db"):
        with pytest.raises(EnvironmentFailure) as caught:
            PasskeyStore(path)
        assert caught.value.hint


def test_a_closed_store_answers_nothing(desk: PasskeyDesk) -> None:
    """Every method raises."""
    desk.store.close()

    for call in (
        lambda: desk.store.all(),
        lambda: desk.store.of_human("alice"),
        lambda: desk.store.find("AA"),
        lambda: desk.store.ticket(b""),
        lambda: desk.store.activate("AA"),
    ):
        with pytest.raises(HoldfastError):
            call()
