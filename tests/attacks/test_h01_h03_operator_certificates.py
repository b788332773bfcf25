# SPDX-License-Identifier: Apache-2.0
"""H01–H03: who is let onto the control plane by which certificate, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from tests.support.bundles import spiffe
from tests.support.certificates import SERVER, Authority, Credential
from tests.support.clients import ControlClient, refused
from tests.support.polling import eventually
from tests.support.testbed import Testbed

ALICE = spiffe("alice")
Make = Callable[[Authority], Credential | None]


def _expired(authority: Authority) -> Credential:
    now = datetime.now(UTC)
    return authority.issue(
        uris=[ALICE], not_before=now - timedelta(days=2), not_after=now - timedelta(minutes=1)
    )


def _not_yet_valid(authority: Authority) -> Credential:
    now = datetime.now(UTC)
    return authority.issue(
        uris=[ALICE], not_before=now + timedelta(hours=1), not_after=now + timedelta(hours=2)
    )


def _signed_by_leaf(authority: Authority) -> Credential:
    """A real operator signs a certificate for another operator with a key that is no CA's."""
    return authority.issue(uris=[ALICE], issuer=authority.issue(uris=[spiffe("soar")]))


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda ca: None, id="no certificate"),
        pytest.param(lambda ca: Authority("Other CA").issue(uris=[ALICE]), id="other CA"),
        pytest.param(lambda ca: Authority().issue(uris=[ALICE]), id="CA of the same name"),
        pytest.param(_expired, id="expired"),
        pytest.param(_not_yet_valid, id="not yet valid"),
        pytest.param(lambda ca: ca.issue(uris=[ALICE], usage=SERVER), id="serverAuth only"),
        pytest.param(_signed_by_leaf, id="leaf signed by leaf"),
    ],
)
async def test_h01_certificate_that_proves_nothing_is_refused(
    bed: Testbed, authority: Authority, make: Make
) -> None:
    """Not even a read passes, and least of all a kill."""
    async with bed.caller(make(authority)) as intruder:
        listed = await refused(intruder.directives())
        killed = await refused(intruder.contain("alpha"))

    assert {listed.code, killed.code} <= {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNAUTHENTICATED,
    }
    async with bed.agent() as agent:
        assert await agent.verdict() == "ALLOW POLICY_ALLOW"


async def test_h01_the_same_operator_with_a_good_certificate_passes_negative_control(
    bed: Testbed, authority: Authority
) -> None:
    """The certificates above are refused for what is wrong with them, not for being made here."""
    async with bed.caller(authority.issue(uris=[ALICE])) as alice:
        await alice.directives()


async def test_h01_plain_text_and_foreign_server_are_refused(bed: Testbed) -> None:
    """Without TLS nothing is answered, and a client that trusts another CA does not connect."""
    credential = bed.credential("alice")
    async with ControlClient(bed.listen, ca=Authority().pem, credential=credential) as alice:
        foreign = await refused(alice.directives())
    channel = grpc.aio.insecure_channel(bed.listen, options=[("grpc.enable_retries", 0)])
    async with channel:
        plain = await refused(
            channel.unary_unary("/sidecar.api.v1.ContainmentService/ListDirectives")(b"", timeout=5)
        )

    assert foreign.code == plain.code == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("names", "status"),
    [
        pytest.param({"uris": [spiffe("mallory")]}, "PERMISSION_DENIED", id="unknown operator"),
        pytest.param(
            {"uris": ["spiffe://other.domain/operator/alice"]},
            "PERMISSION_DENIED",
            id="other trust domain",
        ),
        pytest.param({"uris": [ALICE, spiffe("bob")]}, "UNAUTHENTICATED", id="two URI SANs"),
        pytest.param({"uris": [ALICE, ALICE]}, "UNAUTHENTICATED", id="one URI SAN twice"),
        pytest.param({"dns": ["alice", "contain"]}, "UNAUTHENTICATED", id="DNS SANs alone"),
        pytest.param({"dns": ["x.example"], "common_name": ALICE}, "UNAUTHENTICATED", id="CN"),
        pytest.param({"common_name": ALICE}, "UNAUTHENTICATED", id="no SAN"),
        pytest.param(
            {"uris": ["spiffe://HOLDFAST.TEST/operator/alice"]}, "UNAUTHENTICATED", id="upper case"
        ),
        pytest.param(
            {"uris": ["SPIFFE://holdfast.test/operator/alice"]}, "UNAUTHENTICATED", id="scheme case"
        ),
        pytest.param(
            {"uris": ["spiffe://holdfast.test/operator/%61lice"]}, "UNAUTHENTICATED", id="percent"
        ),
        pytest.param(
            {"uris": ["spiffe://holdfast.test/operator/x/../alice"]}, "UNAUTHENTICATED", id="dots"
        ),
        pytest.param(
            {"uris": ["spiffe://holdfast.test//operator/alice"]}, "UNAUTHENTICATED", id="slashes"
        ),
        pytest.param(
            {"uris": ["spiffe://holdfast.test/operator/alice/"]}, "UNAUTHENTICATED", id="trailing"
        ),
        pytest.param(
            {"uris": ["spiffe://holdfast.test/operator/alice?x=1"]}, "UNAUTHENTICATED", id="query"
        ),
        pytest.param(
            {"uris": ["spiffe://holdfast.test:443/operator/alice"]}, "UNAUTHENTICATED", id="port"
        ),
        pytest.param(
            {"uris": ["https://holdfast.test/operator/alice"]}, "UNAUTHENTICATED", id="https"
        ),
        pytest.param({"uris": ["spiffe://holdfast.test"]}, "UNAUTHENTICATED", id="domain alone"),
    ],
)
async def test_h02_name_that_is_not_exactly_an_operators_is_nobody(
    bed: Testbed, authority: Authority, names: dict[str, object], status: str
) -> None:
    """One URI SAN, of the strict form, named in operators.yaml: anything else is refused."""
    async with bed.caller(authority.issue(**names)) as caller:
        listed = await refused(caller.directives())
        killed = await refused(caller.contain("alpha"))

    assert listed.code.name == killed.code.name == status, listed


async def test_h02_dns_names_beside_the_identity_change_nothing(
    bed: Testbed, authority: Authority
) -> None:
    """A DNS SAN that is called like a role or another operator gives no right."""
    credential = authority.issue(uris=[spiffe("soar")], dns=["release", "alice", "admin"])
    async with bed.caller(credential) as soar, bed.operator("alice") as alice:
        epoch = (await soar.contain(bed.fresh_agent(), "OBSERVE")).receipt.directive.epoch
        error = await refused(soar.release(epoch))
        directive = next(d for d in await alice.directives() if d.epoch == epoch)

    assert error.code == grpc.StatusCode.PERMISSION_DENIED
    assert directive.author == "soar"


async def test_h02_lenient_reading_lets_them_in_negative_control(
    make_bed: Callable[..., Testbed], authority: Authority
) -> None:
    """With names normalised instead of refused, the odd spellings are alice."""
    bed = make_bed()
    bed.launch_control(breakages=["lenient-names"])
    bed.wait_control()
    for uri in (
        "spiffe://HOLDFAST.TEST/operator/alice",
        "spiffe://holdfast.test/operator/%61lice",
        "spiffe://holdfast.test/operator/x/../alice",
    ):
        async with bed.caller(authority.issue(uris=[uri])) as caller:
            await caller.directives()


async def test_h03_certificate_that_expires_while_connected_ends_the_session(
    bed: Testbed, make_bed: Callable[..., Testbed], authority: Authority
) -> None:
    """The connection stays open; the next RPC after ``notAfter`` is UNAUTHENTICATED.

    Negative control: gRPC itself looks at ``notAfter`` only in the handshake, so without our check
    the same session lives on.
    """
    careless = make_bed()
    careless.launch_control(breakages=["no-certificate-expiry"])
    careless.wait_control()
    until = datetime.now(UTC) + timedelta(seconds=2)
    credential = authority.issue(uris=[ALICE], not_after=until)
    async with bed.caller(credential) as alice, careless.caller(credential) as other:
        await alice.directives()
        await other.directives()
        last_second = credential.certificate.not_valid_after_utc
        await eventually(lambda: datetime.now(UTC) >= last_second + timedelta(seconds=1), 5)
        listed = await refused(alice.directives())
        killed = await refused(alice.contain("alpha"))
        await other.directives()

    assert listed.code == killed.code == grpc.StatusCode.UNAUTHENTICATED
    assert listed.reason == "UNAUTHENTICATED"
