# SPDX-License-Identifier: Apache-2.0
"""Evidence: entries of several logs, each with the way to a signed tree head; and its offline check.

A file of evidence is JSON: ``version`` 1, ``agent``, ``since``, ``until``, ``heads`` (each ``log``,
``tree_size``, ``checkpoint``, ``verifier_key``), ``items`` (each ``log``, ``index``, ``entry``: the
canonical line, ``path``: base64 hashes, the sibling first) and ``sha256`` over the canonical JSON of
all the rest (``document_sha256``). It passes only if all of these are shown:

1. *Form*: nothing is missing, unknown or malformed.
2. *Heads*: one for each log, of an origin of its own, signed by its key. Keys that were pinned
   elsewhere count, if any are given; a log whose key is not among them fails.
3. *Items*: each is an entry of a log that has a head, proven by its path to be in the signed tree.
   The Merkle code is the separate verifier's (``verify.verify_proof``).
4. *Order*: log by log, each entry once, oldest first.
5. *About*: each entry was recorded within the window, and none is about another agent. (One that
   names no agent, say an order to contain everything, is about this one by control's word.)
6. *Whole*: the SHA-256 is that of agent, window, heads and items. Whoever takes one out can compute
   another, so keep the SHA-256 elsewhere: what nobody holds proves nothing about what is gone.

Bad input never raises; it is a problem in the report.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidecar.audit.verify import verify_checkpoint, verify_proof

__all__ = ["MAX_ITEMS", "EvidenceReport", "check_evidence", "document_sha256", "items_sha256"]

_VERSION: Final = 1
_MAX_PROBLEMS: Final = 100
MAX_ITEMS: Final = 1_000_000
_FIELDS: Final = frozenset({"version", "agent", "since", "until", "heads", "items", "sha256"})
_HEAD: Final = frozenset({"log", "tree_size", "checkpoint", "verifier_key"})
_ITEM: Final = frozenset({"log", "index", "entry", "path"})
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceReport:
    """The verdict on evidence. ``pinned`` says whether keys from elsewhere were used (law 2)."""

    ok: bool
    agent: str
    items: int
    logs: tuple[str, ...]
    sha256: str
    pinned: bool
    problems: tuple[str, ...]


class _BadError(Exception):
    pass


def items_sha256(items: Iterable[tuple[str, int, bytes, Sequence[bytes]]]) -> str:
    """Return the SHA-256, hex, over the canonical proto3 JSON of (log, index, line, path).

    This is what control says of one page.
    """
    return _sha256([_item_json(*item) for item in items])


def document_sha256(document: Mapping[str, Any]) -> str:
    """Return the SHA-256, hex, over the canonical JSON of *document* without its ``sha256``."""
    return _sha256({name: value for name, value in document.items() if name != "sha256"})


def check_evidence(
    document: Mapping[str, Any], *, verifier_keys: Sequence[str] = (), sha256: str = ""
) -> EvidenceReport:
    """Return whether *document* shows what it says.

    Args:
        document: As ``holdfast audit evidence`` writes it.
        verifier_keys: Keys pinned elsewhere; without any, those in the document are used, and then
            it only shows that the document agrees with itself.
        sha256: What it must be as a whole, if that was kept elsewhere.
    """
    problems: list[str] = []
    items: list[Mapping[str, Any]] = []
    heads: dict[str, tuple[Mapping[str, Any], str]] = {}
    digest = ""
    try:
        items = _check_form(document)
        heads = _heads(document, verifier_keys)
        digest = document_sha256(document)
        if digest != document["sha256"]:
            problems.append("the SHA-256 is not that of the evidence: something was changed")
        if sha256 and digest != sha256.strip().lower():
            problems.append("the SHA-256 is not the one that was kept elsewhere")
        _check_items(document, items, heads, problems)
    except (_BadError, ValueError, TypeError, KeyError, RecursionError) as exc:
        problems.append(str(exc) if isinstance(exc, _BadError) else "the evidence is malformed")
    agent = document.get("agent")
    return EvidenceReport(
        ok=not problems,
        agent=agent if isinstance(agent, str) else "",
        items=len(items),
        logs=tuple(heads),
        sha256=digest,
        pinned=bool(verifier_keys),
        problems=tuple(problems[:_MAX_PROBLEMS]),
    )


# -- form (1, 2) ----------------------------------------------------------------------------------


def _check_form(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    _require(set(document) == _FIELDS, "the evidence lacks fields, or has unknown ones")
    _require(document["version"] == _VERSION, "the evidence is of an unknown version")
    _require(type(document["version"]) is int, "the evidence is of an unknown version")
    for name in ("agent", "sha256"):
        _require(isinstance(document[name], str) and document[name], f"{name} is missing")
    for name in ("since", "until"):
        text = document[name]
        _require(
            isinstance(text, str) and bool(_TIME.fullmatch(text)), f"{name} is no time of an entry"
        )
    items = document["items"]
    _require(isinstance(items, list) and len(items) <= MAX_ITEMS, "items is no list")
    for item in items:
        _require(isinstance(item, dict) and set(item) == _ITEM, "an item is malformed")
        _require(isinstance(item["log"], str) and isinstance(item["entry"], str), "an item is odd")
        _require(type(item["index"]) is int and item["index"] >= 0, "an item has no index")
        _path(item)
    return list(items)


def _heads(
    document: Mapping[str, Any], pinned: Sequence[str]
) -> dict[str, tuple[Mapping[str, Any], str]]:
    """Return by log its head and the key that must have signed it (2)."""
    heads = document["heads"]
    _require(isinstance(heads, list), "heads is no list")
    known = {_origin(key): key.strip() for key in pinned}
    found: dict[str, tuple[Mapping[str, Any], str]] = {}
    origins: set[str] = set()
    for head in heads:
        _require(isinstance(head, dict) and set(head) == _HEAD, "a head is malformed")
        texts = ("log", "checkpoint", "verifier_key")
        _require(all(isinstance(head[name], str) for name in texts), "a head is malformed")
        _require(type(head["tree_size"]) is int, "a head is malformed")
        origin = head["checkpoint"].split("\n", 1)[0]
        _require(head["log"] not in found and origin not in origins, "a log has two heads")
        key = known.get(origin, "") if pinned else head["verifier_key"]
        _require(bool(key), f"there is no key for the log {head['log']}")
        origins.add(origin)
        found[head["log"]] = (head, key)
    return found


def _origin(key: str) -> str:
    return key.strip().split("+", 1)[0]


# -- items (3, 4, 5) ------------------------------------------------------------------------------


def _check_items(
    document: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]],
    heads: Mapping[str, tuple[Mapping[str, Any], str]],
    problems: list[str],
) -> None:
    finished: set[str] = set()
    log, index = "", -1
    for item in items:
        place = f"entry {item['index']} of {item['log']}"
        if item["log"] != log:  # 4
            finished.add(log)
            log, index = item["log"], -1
        if log in finished or item["index"] <= index:
            problems.append(f"{place} is out of order, or there twice")
        index = max(index, item["index"])
        if log not in heads:
            problems.append(f"{place} has no signed head")
            continue
        head, key = heads[log]
        proof = {
            "version": 1,
            "origin": head["checkpoint"].split("\n", 1)[0],
            "index": item["index"],
            "size": head["tree_size"],
            "entry": item["entry"],
            "path": item["path"],
            "checkpoint": head["checkpoint"],
        }
        report = verify_proof(proof, vkey=key)  # 3
        problems += [f"{place}: {problem.what}" for problem in report.problems]
        if report.ok:
            problems += [f"{place} {problem}" for problem in _foreign(document, item["entry"])]  # 5
    for name, (head, key) in heads.items():
        if name not in finished | {log}:
            problems += _head_problems(name, head, key)


def _head_problems(name: str, head: Mapping[str, Any], key: str) -> list[str]:
    """Return what is wrong with a head that no item leads to: its signature must hold all the same."""
    report = verify_checkpoint(head["checkpoint"], vkey=key)
    problems = [f"the head of {name}: {problem.what}" for problem in report.problems]
    if report.ok and report.size != head["tree_size"]:
        problems.append(f"the head of {name} has another size")
    return problems


def _foreign(document: Mapping[str, Any], line: str) -> list[str]:
    """Return why a proven entry is none of this evidence."""
    fields = json.loads(line)
    rule = fields.get("rule")
    named = fields.get("agent", rule.get("agent") if isinstance(rule, dict) else None)
    problems = []
    if not document["since"] <= fields["time"] < document["until"]:
        problems.append("is not of the window")
    if named not in (None, document["agent"]):
        problems.append("is about another agent")
    return problems


def _path(item: Mapping[str, Any]) -> list[bytes]:
    _require(isinstance(item["path"], list), "a path is no list")
    _require(all(isinstance(node, str) for node in item["path"]), "a path is malformed")
    return [base64.b64decode(node.encode("ascii"), validate=True) for node in item["path"]]


def _item_json(log: str, index: int, line: bytes, path: Sequence[bytes]) -> dict[str, Any]:
    """Return an item as proto3 JSON: 64-bit numbers are text, what is empty or zero is left out."""
    entry = {"log": log, "json": base64.b64encode(line).decode("ascii")}
    if index:
        entry["index"] = str(index)
    item: dict[str, Any] = {"entry": entry}
    if path:
        item["hashes"] = [base64.b64encode(node).decode("ascii") for node in path]
    return item


def _sha256(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _require(is_met: object, problem: str) -> None:
    if not is_met:
        raise _BadError(problem)
