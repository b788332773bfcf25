# SPDX-License-Identifier: Apache-2.0
"""The whole way, on a real host: an agent's call, a human's passkey, the call, and the proof.

Control and gate are processes, the agent calls its socket, the human has a browser with an
authenticator; nothing stands in for anything.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from sidecar.api.v1 import account_pb2, account_pb2_grpc
from sidecar.approvals.challenge import grant_challenge
from sidecar.audit.reader import read_entries
from sidecar.passkeys.evidence import check_evidence
from tests.browser.browser_kit import Tabs, add_device
from tests.support.clients import codes, effect, new_id
from tests.support.processes import free_port
from tests.support.testbed import Testbed

HUMAN = "only-approve"
HIGH = """
@id("high") @hold("This burns a note.") @tier("HIGH")
permit (principal, action == Action::"note.burn", resource);
"""


async def _link(bed: Testbed) -> str:
    """Return an enrolment link, as root on the host gets one."""
    async with bed.local() as root:
        stub = account_pb2_grpc.AccountServiceStub(root.channel)
        answer = await stub.EnrolAccount(
            account_pb2.EnrolAccountRequest(request_id=new_id(), operator=HUMAN), timeout=10
        )
    return str(answer.url)


async def test_d18_p4_a_passkey_grants_what_was_shown_and_the_log_proves_it(
    make_bed: Callable[..., Testbed], tabs: Tabs
) -> None:
    """Held at HIGH, granted by a passkey in the browser, made once, and provable from the log."""
    bed = make_bed(console_listen=f"127.0.0.1:{free_port()}")
    bed.write_bundle(extra_policies=HIGH)
    await asyncio.to_thread(bed.begin, ["alpha"])
    tab = await tabs.open()
    page = tab.page
    await add_device(tab)
    await page.goto(await _link(bed))
    await page.get_by_role("button", name="Add a passkey").click()
    await page.get_by_role("heading", name="The passkey was added").wait_for()
    async with bed.agent("alpha") as agent:
        held = await agent.ask("note.burn", {"text": "hello"}, session="s-1")
        waiting = asyncio.create_task(agent.wait(held.obligations.approval, timeout_s=30))
        # From the link in the message: sign in, and decide.
        await page.goto(held.obligations.hold_url)
        await page.locator("main form button[type=submit]").first.click()
        await page.locator("#end").scroll_into_view_if_needed()
        await page.locator("input[name=read]").check()
        await page.locator("input[name=verdict][value=grant]").check()
        await page.locator("textarea[name=reason]").fill("seen, and meant")
        await page.locator("form[action$='/decision'] button[type=submit]").click()
        await page.get_by_text("Your decision is recorded").wait_for()
        state = await waiting
        used = await agent.ask("note.burn", {"text": "hello"}, session="s-1")
        again = await agent.ask("note.burn", {"text": "hello"}, session="s-1")

    entries = [
        json.loads(entry.line)
        for entry in read_entries(bed.layout.control_audit, 0, 1000, is_unsigned_included=True)
    ]
    approval = held.obligations.approval
    (granted,) = [
        entry
        for entry in entries
        if entry.get("event") == "granted" and approval.endswith(entry["approval"].split("/")[-1])
    ]
    evidence = granted["votes"][0]["assertion"]
    challenge = grant_challenge(approval.removeprefix("approvals/"), held.fingerprint)
    other = grant_challenge(approval.removeprefix("approvals/"), "0" * 64)
    assert effect(held) == "HOLD"
    assert held.obligations.hold_tier == "HIGH"
    assert state == "GRANTED"
    assert (effect(used), codes(used)) == ("ALLOW", ["APPROVAL_GRANTED"])
    assert effect(again) == "HOLD"
    assert check_evidence(evidence, challenge=challenge).is_ok
    assert not check_evidence(evidence, challenge=other).is_ok  # negative control
    assert not tab.dialogs


async def test_a_control_that_restarts_keeps_what_waits_on_the_page(
    make_bed: Callable[..., Testbed], tabs: Tabs
) -> None:
    """SIGKILL of control between the page and the decision: sign in again, and it is still there."""
    port = free_port()
    bed = make_bed(console_listen=f"127.0.0.1:{port}")
    await asyncio.to_thread(bed.begin, ["alpha"])
    tab = await tabs.open()
    page = tab.page
    await add_device(tab)
    await page.goto(await _link(bed))
    await page.get_by_role("button", name="Add a passkey").click()
    await page.get_by_role("heading", name="The passkey was added").wait_for()
    async with bed.agent("alpha") as agent:
        held = await agent.ask("note.held", {"text": "hello"})
        await page.goto(held.obligations.hold_url)
        await page.locator("main form button[type=submit]").first.click()
        await page.locator("input[name=verdict][value=grant]").wait_for()
        assert bed.control is not None
        bed.control.kill()
        await asyncio.to_thread(bed.restart_control)
        await page.goto(held.obligations.hold_url)
        await page.locator("main form button[type=submit]").first.click()
        await page.locator("input[name=verdict][value=grant]").check()
        await page.locator("form[action$='/decision'] button[type=submit]").click()
        await page.get_by_text("Your decision is recorded").wait_for()
        used = await agent.ask("note.held", {"text": "hello"})

    assert effect(used) == "ALLOW"
