# SPDX-License-Identifier: Apache-2.0
"""Evidence out of a real log: whatever is changed in it does not pass."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.audit.evidence import check_evidence, document_sha256, items_sha256
from sidecar.audit.export import extract
from sidecar.audit.index_sqlite import AuditIndex, token_after, token_before
from sidecar.audit.log import AuditLog
from sidecar.audit.reader import EntryFilter, checkpoint_text, signed_size
from sidecar.audit.verify import verify_checkpoint
from sidecar.canonical import canonicalise
from sidecar.errors import IntegrityError

_WINDOW = ("2000-01-01T00:00:00.000000000Z", "2100-01-01T00:00:00.000000000Z")


async def _log(open_log: Callable[..., AuditLog], count: int = 40) -> AuditLog:
    """Return a log in which two agents take turns."""
    log = open_log()
    for number in range(count):
        agent = ("alpha", "beta")[number % 2]
        ticket = log.append({"kind": "decision", "agent": agent, "decision_id": f"d-{number}"})
    await log.durable(ticket)
    await log.checkpoint()
    return log


def _extract(directory: Path, tmp_path: Path, **fields: Any) -> Any:
    index = AuditIndex.open(directory, path=tmp_path / "index.db")
    index.catch_up()
    root = base64.b64decode(checkpoint_text(directory).split("\n")[2])
    try:
        return extract(
            index,
            directory,
            fields.pop("wanted", EntryFilter(agent="alpha")),
            fields.pop("keep", lambda _: True),
            **{
                "after": -1,
                "size": signed_size(directory),
                "root": root,
                "limit": 500,
                "most": 5000,
                **fields,
            },
        )
    finally:
        index.close()


def _document(directory: Path, log: AuditLog, tmp_path: Path) -> dict[str, Any]:
    found = _extract(directory, tmp_path)
    document: dict[str, Any] = {
        "version": 1,
        "agent": "alpha",
        "since": _WINDOW[0],
        "until": _WINDOW[1],
        "heads": [
            {
                "log": "gate",
                "tree_size": signed_size(directory),
                "checkpoint": checkpoint_text(directory),
                "verifier_key": log.vkey,
            }
        ],
        "items": [
            {
                "log": "gate",
                "index": item.seq,
                "entry": item.line.decode(),
                "path": [base64.b64encode(node).decode() for node in item.path],
            }
            for item in found.items
        ],
    }
    return document | {"sha256": document_sha256(document)}


def _fit(document: dict[str, Any]) -> None:
    """Make the SHA-256 fit what the document holds now, as a forger would."""
    document["sha256"] = document_sha256(document)


async def test_untouched_evidence_passes(
    open_log: Callable[..., AuditLog], fast_dir: Path, tmp_path: Path
) -> None:
    """Negative control of everything below: as it was taken out, it holds."""
    log = await _log(open_log)
    document = _document(log.directory, log, tmp_path)

    report = check_evidence(document, verifier_keys=[log.vkey], sha256=document["sha256"])

    assert report.ok, report.problems
    assert (report.items, report.logs, report.pinned) == (20, ("gate",), True)
    await log.aclose()


async def test_g01_every_byte_of_an_entry_and_of_its_path_counts(
    open_log: Callable[..., AuditLog], fast_dir: Path, tmp_path: Path
) -> None:
    """Each character of one line and one path is changed, and the SHA-256 made to fit: none passes."""
    log = await _log(open_log)
    document = _document(log.directory, log, tmp_path)
    document["items"] = document["items"][:1]
    _fit(document)
    item = document["items"][0]
    passed = []
    for at, char in enumerate(item["entry"]):
        changed = copy.deepcopy(document)
        other = "x" if char != "x" else "y"
        changed["items"][0]["entry"] = item["entry"][:at] + other + item["entry"][at + 1 :]
        _fit(changed)
        if check_evidence(changed, verifier_keys=[log.vkey]).ok:
            passed.append(at)
    for number, node in enumerate(item["path"]):
        raw = bytearray(base64.b64decode(node))
        for at in range(len(raw)):
            changed = copy.deepcopy(document)
            flipped = bytes(raw[:at]) + bytes([raw[at] ^ 1]) + bytes(raw[at + 1 :])
            changed["items"][0]["path"][number] = base64.b64encode(flipped).decode()
            _fit(changed)
            if check_evidence(changed, verifier_keys=[log.vkey]).ok:
                passed.append((number, at))

    assert check_evidence(document, verifier_keys=[log.vkey]).ok
    assert passed == []
    await log.aclose()


async def test_g02_dropped_item_is_shown_by_the_sha256_that_was_kept(
    open_log: Callable[..., AuditLog], fast_dir: Path, tmp_path: Path
) -> None:
    """The file's own SHA-256 shows a careless one; a careful one only the SHA-256 kept elsewhere."""
    log = await _log(open_log)
    document = _document(log.directory, log, tmp_path)
    kept = document["sha256"]
    del document["items"][3]

    careless = check_evidence(document, verifier_keys=[log.vkey])
    _fit(document)
    careful = check_evidence(document, verifier_keys=[log.vkey])
    pinned = check_evidence(document, verifier_keys=[log.vkey], sha256=kept)

    assert (careless.ok, careful.ok, pinned.ok) == (False, True, False)
    await log.aclose()


async def test_pages_follow_each_other_in_a_tree_that_grows(
    open_log: Callable[..., AuditLog], fast_dir: Path, tmp_path: Path
) -> None:
    """Bounded by count and by what is looked at, each proof leads to the first page's tree."""
    log = await _log(open_log)
    size = signed_size(log.directory)
    checkpoint = checkpoint_text(log.directory)
    root = bytes.fromhex(verify_checkpoint(checkpoint, vkey=log.vkey).root)
    items: list[Any] = []
    after, whole = -1, False
    while not whole:
        found = _extract(
            log.directory, tmp_path, after=after, size=size, root=root, limit=3, most=5
        )
        items += found.items
        after, whole = found.looked_to, found.is_whole
        await log.durable(log.append({"kind": "decision", "agent": "alpha", "decision_id": "l"}))
        await log.checkpoint()

    document = {
        "version": 1, "agent": "alpha", "since": _WINDOW[0], "until": _WINDOW[1],
        "heads": [
            {"log": "gate", "tree_size": size, "checkpoint": checkpoint, "verifier_key": log.vkey}
        ],
        "items": [
            {
                "log": "gate", "index": i.seq, "entry": i.line.decode(),
                "path": [base64.b64encode(node).decode() for node in i.path],
            }
            for i in items
        ],
    }  # fmt: skip
    _fit(document)
    report = check_evidence(document, verifier_keys=[log.vkey])

    assert report.ok, report.problems
    assert [i.seq for i in items] == list(range(0, 40, 2))
    await log.aclose()


async def test_extract_keeps_what_it_is_told_to_and_refuses_a_log_that_was_cut(
    open_log: Callable[..., AuditLog], fast_dir: Path, tmp_path: Path
) -> None:
    """A tree that the log no longer has cannot be proven."""
    log = await _log(open_log)

    found = _extract(log.directory, tmp_path, keep=lambda fields: fields["decision_id"] == "d-4")

    assert [item.seq for item in found.items] == [4]
    with pytest.raises(IntegrityError):
        _extract(log.directory, tmp_path, size=signed_size(log.directory) + 1)
    await log.aclose()


@pytest.mark.parametrize(
    "change",
    [
        {"agent": "beta"}, {"since": "1999-01-01T00:00:00.000000000Z"},
        {"until": "2101-01-01T00:00:00.000000000Z"},
    ],
    ids=["agent", "since", "until"],
)  # fmt: skip
async def test_g02_sha256_that_was_kept_holds_agent_and_window(
    open_log: Callable[..., AuditLog], fast_dir: Path, tmp_path: Path, change: dict[str, str]
) -> None:
    """Evidence of one hour is no evidence that nothing happened in the hour before."""
    log = await _log(open_log)
    document = _document(log.directory, log, tmp_path)
    kept = document["sha256"]
    document |= change
    _fit(document)

    report = check_evidence(document, verifier_keys=[log.vkey], sha256=kept)

    assert not report.ok
    assert "the SHA-256 is not the one that was kept elsewhere" in report.problems
    await log.aclose()


async def test_g01_entries_of_one_agent_do_not_prove_anything_of_another(
    open_log: Callable[..., AuditLog], fast_dir: Path, tmp_path: Path
) -> None:
    """Another name on the file, the SHA-256 made to fit: the entries themselves say whose they are."""
    log = await _log(open_log)
    rule = {"kind": "revoke_tokens", "rule": {"agent": "alpha", "author": "bob"}}
    everything = {"kind": "contain", "directive": {"target": {"kind": "all"}}}
    for entry in (rule, everything):
        ticket = log.append(entry)
    await log.durable(ticket)
    await log.checkpoint()
    document = _document(log.directory, log, tmp_path)
    found = _extract(
        log.directory, tmp_path, wanted=EntryFilter(kinds=("revoke_tokens", "contain"))
    )
    document["items"] = [
        {
            "log": "gate", "index": i.seq, "entry": i.line.decode(),
            "path": [base64.b64encode(node).decode() for node in i.path],
        }
        for i in found.items
    ]  # fmt: skip
    _fit(document)
    as_it_is = check_evidence(document, verifier_keys=[log.vkey])
    document["agent"] = "beta"
    _fit(document)

    renamed = check_evidence(document, verifier_keys=[log.vkey])

    assert as_it_is.ok, as_it_is.problems
    assert renamed.problems == (f"entry {found.items[0].seq} of gate is about another agent",)
    await log.aclose()


async def test_g01_what_does_not_prove_is_not_handed_out(
    open_log: Callable[..., AuditLog], fast_dir: Path, tmp_path: Path
) -> None:
    """An entry that was changed on the disk, and a head of another log, are errors and no evidence."""
    log = await _log(open_log)
    await log.aclose()
    assert _extract(log.directory, tmp_path).items
    for file in sorted((log.directory / "tile" / "entries").rglob("*")):
        if file.is_file():
            file.chmod(0o600)
            file.write_bytes(file.read_bytes().replace(b'"d-4"', b'"d-5"'))

    for fields in ({}, {"root": bytes(32), "keep": lambda fields: fields["decision_id"] == "d-6"}):
        with pytest.raises(IntegrityError):
            _extract(log.directory, tmp_path, **fields)


async def test_sha256_is_over_canonical_proto3_json() -> None:
    """What is zero or empty is left out, 64-bit numbers are text: as proto3 JSON has it."""
    items = [("control", 0, b"{}", ()), ("gate", 7, b"{}", (b"\x01",))]
    as_json = [
        {"entry": {"json": "e30=", "log": "control"}},
        {"entry": {"index": "7", "json": "e30=", "log": "gate"}, "hashes": ["AQ=="]},
    ]

    assert items_sha256(items) == hashlib.sha256(canonicalise(as_json)).hexdigest()


@pytest.mark.parametrize(
    "document",
    [
        {}, {"version": 2}, {"items": []},
        {"version": True, "agent": "a", "since": _WINDOW[0], "until": _WINDOW[1], "heads": [],
         "items": [], "sha256": "0"},
        {"version": 1, "agent": "a", "since": "x", "until": "y", "heads": [], "items": [],
         "sha256": "0"},
        {"version": 1, "agent": "a", "since": _WINDOW[0], "until": _WINDOW[1], "heads": [3],
         "items": [], "sha256": "0"},
        {"version": 1, "agent": "a", "since": _WINDOW[0], "until": _WINDOW[1], "heads": [],
         "items": [{"log": "x", "index": -1, "entry": "{}", "path": []}], "sha256": "0"},
        {"version": 1, "agent": "a", "since": _WINDOW[0], "until": _WINDOW[1], "heads": [],
         "items": [{"log": "x", "index": 1, "entry": "{}", "path": ["é"]}], "sha256": "0"},
    ],
    ids=["empty", "version", "items", "bool", "time", "head", "index", "path"],
)  # fmt: skip
async def test_g07_garbage_never_passes_and_never_raises(document: dict[str, Any]) -> None:
    """Bad input is a problem in the report."""
    report = check_evidence(document)

    assert not report.ok
    assert report.problems


async def test_checkpoint_alone_is_verified_by_its_key(
    open_log: Callable[..., AuditLog], fast_dir: Path
) -> None:
    """A changed one, and one without a key, do not pass."""
    log = await _log(open_log)
    text = checkpoint_text(log.directory)

    assert verify_checkpoint(text, vkey=log.vkey).ok
    assert verify_checkpoint(text, vkey=log.vkey).size == 40
    assert not verify_checkpoint(text.replace("40", "41", 1), vkey=log.vkey).ok
    assert not verify_checkpoint(text, vkey=None).ok
    assert not verify_checkpoint("", vkey=log.vkey).ok
    await log.aclose()


async def test_index_finds_what_refers_to_decisions_and_pages_from_any_entry(
    open_log: Callable[..., AuditLog], fast_dir: Path, tmp_path: Path
) -> None:
    """By kind, of any number of decisions; before an entry and behind one; of several kinds."""
    log = await _log(open_log)
    for number in (3, 30):
        ticket = log.append({"kind": "outcome", "agent": "alpha", "decision_id": f"d-{number}"})
    await log.durable(ticket)
    await log.checkpoint()
    index = AuditIndex.open(log.directory, path=tmp_path / "index.db")
    index.catch_up()

    ids = [f"d-{number}" for number in range(1200)]
    found = index.referring(ids, kind="outcome")
    below = index.query(limit=2, page_token=token_before(10), is_newest_first=True)
    behind = index.query(limit=2, page_token=token_after(10))
    kinds = index.query(EntryFilter(kinds=("outcome", "start")), limit=10)

    assert [json.loads(entry.line)["decision_id"] for entry in found] == ["d-3", "d-30"]
    assert index.referring([], kind="outcome") == ()
    assert [entry.seq for entry in below.entries] == [9, 8]
    assert [entry.seq for entry in behind.entries] == [11, 12]
    assert [entry.fields()["kind"] for entry in kinds.entries] == ["outcome", "outcome"]
    assert token_after(-1) == ""
    index.close()
    await log.aclose()
