# SPDX-License-Identifier: Apache-2.0
"""Control's audit service: what it lists is in the tree, and its proofs verify without it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.api.v1 import audit_pb2
from sidecar.audit.merkle import leaf_hash, verify_consistency, verify_inclusion
from sidecar.audit.note import Checkpoint, open_checkpoint, parse_vkey
from sidecar.errors import IntegrityError
from tests.support.clients import ControlClient, refused
from tests.support.polling import eventually
from tests.support.testbed import Testbed


async def _checkpoint(client: ControlClient, log: str = "") -> Checkpoint:
    answer = await client.audit.GetCheckpoint(audit_pb2.GetCheckpointRequest(log=log))
    return open_checkpoint(answer.checkpoint, key=parse_vkey(answer.verifier_key))


async def _entries(client: ControlClient, **fields: Any) -> list[dict[str, Any]]:
    answer = await client.audit.ListEntries(audit_pb2.ListEntriesRequest(page_size=1000, **fields))
    return [json.loads(entry.json) for entry in answer.entries]


async def test_containment_and_release_are_in_the_log(bed: Testbed) -> None:
    """An order, its release and a refusal each leave an entry that names who and what."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.operator("soar") as soar:
        answer = await alice.contain(name)
        epoch = answer.receipt.directive.epoch
        error = await refused(soar.release(epoch))
        operation = (await alice.release(epoch)).operation
        contained = await _entries(alice, kind="contain")
        released = await _entries(alice, kind="release")
        decided = await _entries(alice, kind="approval")
        refusals = await _entries(alice, kind="refused")

    assert error.reason == "PERMISSION_MISSING"
    assert {"method": "/sidecar.api.v1.ContainmentService/Release", "operator": "soar"}.items() <= (
        refusals[0].items()
    )
    mine = [e for e in contained if e["directive"]["epoch"] == str(epoch)]
    assert [(e["directive"]["author"], e["agents"]) for e in mine] == [("alice", [name])]
    assert "approval" not in mine[0]
    [release] = [e for e in released if e["directive"]["epoch"] == str(epoch)]
    assert (release["releaser"], release["approvers"]) == ("alice", ["only-approve"])
    assert release["approval"] == operation.approval
    events = [e["event"] for e in decided if e["approval"] == operation.approval]
    assert events == ["executed", "consumed", "granted", "opened"]


async def test_receipt_points_at_an_entry_that_its_checkpoint_covers(bed: Testbed) -> None:
    """Index and checkpoint of a receipt are enough to prove the order offline."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice:
        receipt = (await alice.contain(name)).receipt
        key = (await alice.audit.GetCheckpoint(audit_pb2.GetCheckpointRequest())).verifier_key
        held = open_checkpoint(receipt.checkpoint, key=parse_vkey(key))
        proof = await alice.audit.GetInclusionProof(
            audit_pb2.GetInclusionProofRequest(index=receipt.log_index, tree_size=held.size)
        )

    entry = json.loads(proof.entry.json)
    assert (entry["kind"], entry["directive"]["target"]["agent"]) == ("contain", name)
    verify_inclusion(
        leaf_hash(proof.entry.json),
        index=receipt.log_index,
        size=held.size,
        path=list(proof.hashes),
        root=held.root,
    )


async def test_inclusion_proof_of_the_newest_tree_and_a_changed_entry(bed: Testbed) -> None:
    """With ``tree_size`` 0 the proof brings its own checkpoint; a changed byte does not verify."""
    async with bed.operator("alice") as alice:
        newest = await _checkpoint(alice)
        proof = await alice.audit.GetInclusionProof(audit_pb2.GetInclusionProofRequest(index=0))
        key = (await alice.audit.GetCheckpoint(audit_pb2.GetCheckpointRequest())).verifier_key
        head = open_checkpoint(proof.checkpoint, key=parse_vkey(key))

    assert proof.tree_size == head.size >= newest.size
    arguments = {"index": 0, "size": head.size, "path": list(proof.hashes), "root": head.root}
    verify_inclusion(leaf_hash(proof.entry.json), **arguments)
    with pytest.raises(IntegrityError):
        verify_inclusion(leaf_hash(proof.entry.json + b" "), **arguments)


async def test_consistency_proof_links_two_checkpoints(bed: Testbed) -> None:
    """The newer tree is shown to extend the older; a forged older root is not."""
    async with bed.operator("alice") as alice:
        old = await _checkpoint(alice)
        await alice.contain(bed.fresh_agent(), "OBSERVE")
        new = await _checkpoint(alice)
        proof = await alice.audit.GetConsistencyProof(
            audit_pb2.GetConsistencyProofRequest(
                first_tree_size=old.size, second_tree_size=new.size
            )
        )

    assert new.size > old.size
    heads = {"old_size": old.size, "new_size": new.size, "new_root": new.root}
    verify_consistency(old_root=old.root, path=list(proof.hashes), **heads)
    with pytest.raises(IntegrityError):
        verify_consistency(old_root=bytes(32), path=list(proof.hashes), **heads)


async def test_a_gates_log_is_listed_and_proved(bed: Testbed) -> None:
    """Decisions of a gate are found by agent, effect and id, and are in the gate's own tree."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.agent(name) as agent:
        allowed = await agent.ask("note.write", {"text": "hello"})
        denied = await agent.ask("no.such.tool")

        async def found() -> list[dict[str, Any]]:
            return [
                entry
                for entry in await _entries(alice, log="gate", agent=name)
                if entry["kind"] == "decision"
            ]

        listed = await eventually(lambda: _at_least(found, 2), 5)
        by_id = await _entries(alice, log="gate", decision_id=allowed.decision_id)
        by_effect = await _entries(alice, log="gate", agent=name, effect="DENY")
        head = await eventually(lambda: _covers(alice, by_id[0]["seq"]), 5)
        proof = await alice.audit.GetInclusionProof(
            audit_pb2.GetInclusionProofRequest(
                log="gate", index=by_id[0]["seq"], tree_size=head.size
            )
        )

    assert [e["decision_id"] for e in listed] == [denied.decision_id, allowed.decision_id]
    assert by_id[0]["arguments"] == {"text": "hello"}
    assert [e["decision_id"] for e in by_effect] == [denied.decision_id]
    verify_inclusion(
        leaf_hash(proof.entry.json),
        index=by_id[0]["seq"],
        size=head.size,
        path=list(proof.hashes),
        root=head.root,
    )


async def _at_least(find: Any, count: int) -> Any:
    found = await find()
    return found if len(found) >= count else None


async def _covers(client: ControlClient, index: int) -> Checkpoint | None:
    head = await _checkpoint(client, "gate")
    return head if head.size > index else None


async def test_entries_are_paged_newest_first(bed: Testbed) -> None:
    """Pages neither repeat nor skip an entry."""
    async with bed.operator("alice") as alice:
        whole = await alice.audit.ListEntries(audit_pb2.ListEntriesRequest(page_size=1000))
        indexes, token = [], ""
        while len(indexes) < 9:
            page = await alice.audit.ListEntries(
                audit_pb2.ListEntriesRequest(page_size=3, page_token=token)
            )
            indexes += [entry.index for entry in page.entries]
            token = page.next_page_token
            if not token:
                break

    assert indexes == sorted(indexes, reverse=True)
    assert len(set(indexes)) == len(indexes)
    assert set(indexes) <= {entry.index for entry in whole.entries} | {max(indexes)}


@pytest.mark.parametrize(
    ("method", "request_message"),
    [
        ("ListEntries", audit_pb2.ListEntriesRequest(log="../control")),
        ("ListEntries", audit_pb2.ListEntriesRequest(page_size=100_000)),
        ("ListEntries", audit_pb2.ListEntriesRequest(page_token="no token")),
        ("GetCheckpoint", audit_pb2.GetCheckpointRequest(log="nobody")),
        ("GetInclusionProof", audit_pb2.GetInclusionProofRequest(index=10**9)),
        ("GetInclusionProof", audit_pb2.GetInclusionProofRequest(index=0, tree_size=10**9)),
        ("GetConsistencyProof", audit_pb2.GetConsistencyProofRequest(first_tree_size=10**9)),
    ],
)
async def test_questions_about_what_is_not_there_are_refused(
    bed: Testbed, method: str, request_message: Any
) -> None:
    """A foreign log, a tree that is not, a token that is none: an error with a status, no crash."""
    async with bed.operator("alice") as alice:
        error = await refused(getattr(alice.audit, method)(request_message))
        still_there = await _checkpoint(alice)

    assert error.code.name in {"NOT_FOUND", "INVALID_ARGUMENT"}, error
    assert still_there.size > 0


async def test_both_logs_verify_offline(bed: Testbed) -> None:
    """The offline verifier passes the live logs of control and of the gate."""
    assert bed.verify_control_log().ok
    assert bed.verify_gate_log().ok
