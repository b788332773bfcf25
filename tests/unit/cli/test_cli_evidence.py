# SPDX-License-Identifier: Apache-2.0
"""Receipts, logs and bundles, examined without anybody's help; and what they look like touched."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.audit.note import format_vkey
from sidecar.cli.exits import Exit
from sidecar.settings import default_bundle

CONTAIN = ("contain", "agent", "banking", "--level", "kill", "--reason", "drill", "--yes", "--json")


@pytest.fixture
def signed(host, holdfast, tmp_path):
    """A receipt in a file, and the key of control in another."""
    receipt = tmp_path / "r.json"
    receipt.write_text(holdfast(*CONTAIN).out)
    key = tmp_path / "control.vkey"
    key.write_text(format_vkey("holdfast.test/control", host.key.public_key()) + "\n")
    return receipt, key


# -- receipts -------------------------------------------------------------------------------------


def test_a_receipt_verifies_offline(signed, holdfast, host):
    """By verifier key, by its text, or by PEM."""
    receipt, key = signed
    pem = key.with_suffix(".pem")
    pem.write_bytes(
        host.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )

    for given in (str(key), key.read_text().strip(), str(pem)):
        result = holdfast("receipt", "verify", str(receipt), "--key", given, "--json")

        assert result.code == Exit.OK
        assert result.json()["receipt"]["directive"]["reason"] == "drill"
    assert "agent banking" in holdfast("receipt", "verify", str(receipt), "--key", str(key)).out


def test_a_receipt_verifies_from_standard_input(signed, holdfast):
    """``receipt show --json | receipt verify -``."""
    _, key = signed

    shown = holdfast("receipt", "show", "2", "--json").out
    result = holdfast("receipt", "verify", "-", "--key", str(key), stdin=shown)

    assert result.code == Exit.OK


def test_a_touched_receipt_is_broken_integrity(signed, holdfast):
    """One byte of what was signed, or of the signature: exit 6."""
    receipt, key = signed
    document = json.loads(receipt.read_text())
    body = document["receipt"]
    original = body["signed_json"]
    softer = base64.b64decode(original).replace(b'"KILL"', b'"HOLD"')
    assert softer != base64.b64decode(original)

    body["signed_json"] = base64.b64encode(softer).decode()
    receipt.write_text(json.dumps(document))
    touched = holdfast("receipt", "verify", str(receipt), "--key", str(key))
    body["signed_json"] = original
    body["signature"] = base64.b64encode(bytes(64)).decode()
    receipt.write_text(json.dumps(document))
    unsigned = holdfast("receipt", "verify", str(receipt), "--key", str(key), "--json")

    assert touched.code == unsigned.code == Exit.INTEGRITY
    assert unsigned.json()["error"]["reason"] == "INTEGRITY_BROKEN"


def test_what_the_receipt_says_beside_the_signature_does_not_count(signed, holdfast):
    """The convenient fields are not signed; what is shown comes from the bytes that are."""
    receipt, key = signed
    document = json.loads(receipt.read_text())
    document["receipt"]["directive"]["reason"] = "something else"
    receipt.write_text(json.dumps(document))

    result = holdfast("receipt", "verify", str(receipt), "--key", str(key), "--json")

    assert result.code == Exit.OK
    assert result.json()["receipt"]["directive"]["reason"] == "drill"


def test_another_key_does_not_verify(signed, holdfast):
    """Whoever signed, it was not this control."""
    receipt, _ = signed
    other = format_vkey("holdfast.test/control", Ed25519PrivateKey.generate().public_key())

    result = holdfast("receipt", "verify", str(receipt), "--key", other)

    assert result.code == Exit.INTEGRITY


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"receipt": 1}', '{"a": 1}', "\x00\xff", "1" * 9]
)
def test_a_file_that_is_no_receipt_is_bad_input(signed, holdfast, content):
    """Exit 2: not evidence that was touched, but no evidence."""
    receipt, key = signed
    receipt.write_text(content)

    assert holdfast("receipt", "verify", str(receipt), "--key", str(key)).code == Exit.USAGE


@pytest.mark.parametrize("content", ["", "nonsense", "a+b+c", "-----BEGIN PUBLIC KEY-----\nAA\n"])
def test_a_key_that_is_none_is_bad_input(signed, holdfast, content):
    """Nothing verifies with it, and nothing pretends to."""
    receipt, key = signed
    key.write_text(content)

    assert holdfast("receipt", "verify", str(receipt), "--key", str(key)).code == Exit.USAGE
    missing = holdfast("receipt", "verify", str(receipt), "--key", str(key) + ".no")
    assert missing.code == Exit.USAGE


# -- logs -----------------------------------------------------------------------------------------


def verify(holdfast, log, *more: str):
    return holdfast("audit", "verify", str(log.directory), "--key", str(log.key_file), *more)


def test_a_whole_log_verifies(small_log, holdfast):
    """Exit 0, the number of entries, the root."""
    result = verify(holdfast, small_log, "--json")

    document = result.json()
    assert result.code == Exit.OK
    assert document["ok"] is True
    assert document["size"] == 5
    assert document["problems"] == []
    assert "✓ verified: holdfast.test/control, 5 entries" in verify(holdfast, small_log).out


def damage_an_entry(directory: Path) -> None:
    bundle = next((directory / "tile" / "entries").rglob("*"))
    path = next(item for item in [bundle, *bundle.rglob("*")] if item.is_file())
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"DENY", b"HOLD", 1))


def cut_the_checkpoint(directory: Path) -> None:
    (directory / "checkpoint").write_bytes(b"")


def remove_everything(directory: Path) -> None:
    for path in directory.rglob("*"):
        if path.is_file():
            path.unlink()


@pytest.mark.parametrize("damage", [damage_an_entry, cut_the_checkpoint, remove_everything])
def test_a_touched_log_is_broken_integrity(small_log, holdfast, damage):
    """A changed entry, an emptied checkpoint, an empty directory: exit 6, with the place."""
    damage(small_log.directory)

    result = verify(holdfast, small_log, "--json")

    assert result.code == Exit.INTEGRITY
    assert result.json()["ok"] is False
    assert result.json()["problems"]


def test_a_log_that_was_cut_back_shows_against_a_checkpoint_from_elsewhere(
    small_log, pristine_log, holdfast, tmp_path
):
    """Alone it looks whole; the copy that somebody else kept tells."""
    anchor = tmp_path / "anchor.jsonl"
    note = (pristine_log.directory / "checkpoint").read_text()
    anchor.write_text('{"half a li\n' + json.dumps({"checkpoint": note}) + "\n")
    newer = tmp_path / "note"
    newer.write_text(note)

    by_anchor = verify(holdfast, small_log, "--checkpoint", str(anchor))
    by_note = verify(holdfast, small_log, "--checkpoint", str(newer))
    anchor.write_text("{}\n")
    empty = verify(holdfast, small_log, "--checkpoint", str(anchor))

    assert (by_anchor.code, by_note.code) == (Exit.OK, Exit.OK)
    assert empty.code == Exit.USAGE


def test_verify_wants_a_key_and_one_thing_to_verify(small_log, holdfast):
    """Without a key nothing can pass; with two things it is unclear which passed."""
    assert holdfast("audit", "verify", str(small_log.directory)).code == Exit.USAGE
    assert holdfast("audit", "verify", "--key", small_log.vkey).code == Exit.USAGE
    both = verify(holdfast, small_log, "--proof", str(small_log.key_file))
    assert both.code == Exit.USAGE


def test_a_proof_travels_and_verifies_anywhere(small_log, host, holdfast, tmp_path):
    """From the directory or from control: the same proof, and a changed one fails."""
    host.control.audit_directory = small_log.directory
    proof = tmp_path / "proof.json"

    offline = holdfast("audit", "prove", "3", str(small_log.directory), "--json")
    online = holdfast("audit", "prove", "3", "--verify", small_log.vkey, "--json")
    assert offline.json()["proof"] == online.json()["proof"]
    assert online.json()["verified"] is True

    proof.write_text(offline.out)
    good = holdfast("audit", "verify", "--proof", str(proof), "--key", small_log.vkey)
    proof.write_text(offline.out.replace("dec_3", "dec_4"))
    bad = holdfast("audit", "verify", "--proof", str(proof), "--key", small_log.vkey)

    assert good.code == Exit.OK
    assert bad.code == Exit.INTEGRITY
    assert holdfast("audit", "prove", "99", str(small_log.directory)).code == Exit.FAILURE
    assert holdfast("audit", "prove", "99").code == Exit.FAILURE


def test_a_proof_that_does_not_hold_is_not_shown_as_one(small_log, host, holdfast):
    """--verify with another log's key: exit 6."""
    host.control.audit_directory = small_log.directory
    other = format_vkey("holdfast.test/control", Ed25519PrivateKey.generate().public_key())

    assert holdfast("audit", "prove", "3", "--verify", other).code == Exit.INTEGRITY
    assert "✓ entry 3" in holdfast("audit", "prove", "3", "--verify", small_log.vkey).out
    assert "! entry 3" in holdfast("audit", "prove", "3").out


def test_entries_are_shown_from_control_and_from_the_directory(small_log, host, holdfast):
    """The same entries; nothing found is exit 1."""
    host.control.audit_directory = small_log.directory

    online = holdfast("audit", "show", "--agent", "banking", "--json").json()
    offline = holdfast(
        "audit", "show", str(small_log.directory), "--agent", "banking", "--json"
    ).json()

    assert [row["index"] for row in online["entries"]] == [3, 1]
    assert [row["index"] for row in offline["entries"]] == [1, 3]
    assert online["entries"][0]["entry"]["decision_id"] == "dec_3"
    text = holdfast("audit", "show", "--limit", "2")
    assert "dec_4" in text.out
    assert "--page-token x" in text.out
    assert holdfast("audit", "show", "--agent", "nobody").code == Exit.FAILURE
    assert holdfast("audit", "show", str(small_log.directory), "--agent", "x").code == Exit.FAILURE


@pytest.mark.parametrize("text", ["yesterday", "2026-11-22", "2026-11-22T14:00:00"])
def test_times_need_a_zone(holdfast, text):
    """A bound in the wrong zone would hide entries."""
    assert holdfast("audit", "show", "--since", text).code == Exit.USAGE


def test_a_checkpoint_is_handed_out_to_be_kept(small_log, host, holdfast):
    """The note alone on stdout, so that it can be redirected into a file."""
    host.control.audit_directory = small_log.directory
    host.control.vkey = small_log.vkey
    note = (small_log.directory / "checkpoint").read_text()

    online = holdfast("audit", "checkpoint")
    offline = holdfast("audit", "checkpoint", str(small_log.directory))

    assert online.out == offline.out == note
    assert small_log.vkey in online.err
    assert holdfast("audit", "checkpoint", "--json").json()["verifier_key"] == small_log.vkey


# -- bundles --------------------------------------------------------------------------------------

BUNDLE = str(default_bundle())


def test_a_good_bundle_checks_and_tests(holdfast):
    """Exit 0, with the digest that will stand in every decision."""
    check = holdfast("policy", "check", BUNDLE, "--json")
    test = holdfast("policy", "test", BUNDLE)

    assert check.code == Exit.OK
    assert len(check.json()["digest"]) == 64
    assert test.code == Exit.OK
    assert "tests passed" in test.out


@pytest.fixture
def own_bundle(tmp_path):
    """A copy of the built-in bundle."""
    import shutil

    return Path(shutil.copytree(BUNDLE, tmp_path / "bundle"))


def test_a_broken_bundle_names_its_places(holdfast, own_bundle):
    """``check`` reports and exits 1; what needs a bundle to work on exits 2."""
    tools = own_bundle / "tools.yaml"
    tools.write_text(tools.read_text().replace("class: write", "class: wirte", 1))

    check = holdfast("policy", "check", str(own_bundle), "--json")
    test = holdfast("policy", "test", str(own_bundle))

    assert check.code == Exit.FAILURE
    problem = check.json()["problems"][0]
    assert (problem["severity"], problem["path"]) == ("error", "tools.yaml")
    assert "wirte" in problem["message"]
    assert test.code == Exit.USAGE
    assert "tools.yaml:" in test.err
    assert holdfast("policy", "check", str(own_bundle / "nowhere")).code == Exit.FAILURE


def test_a_disagreeing_test_fails(holdfast, own_bundle):
    """Exit 1 and which test; no test at all is no pass either."""
    cases = own_bundle / "tests" / "demo.yaml"
    cases.write_text(cases.read_text().replace("expect: DENY", "expect: ALLOW", 1))

    disagrees = holdfast("policy", "test", str(own_bundle))
    cases.unlink()
    untested = holdfast("policy", "test", str(own_bundle))

    assert disagrees.code == Exit.FAILURE
    assert "✗ tests/demo.yaml:" in disagrees.out
    assert untested.code == Exit.FAILURE


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("files.read", "--arg", "path=workspace/README.md"), Exit.OK),
        (("files.reed", "--arg", "path=workspace/README.md"), Exit.DENIED),
        (("files.read", "--json-args", '{"path": 7}'), Exit.DENIED),
        (("files.read", "--json-args", "["), Exit.USAGE),
        (("files.read", "--json-args", "[]"), Exit.USAGE),
        (("files.read", "--arg", "path"), Exit.USAGE),
        (("files.read", "--arg", "path=a", "--arg", "path=b"), Exit.USAGE),
        (("files.read", "--arg", "path=a", "--json-args", "{}"), Exit.USAGE),
    ],
)
def test_a_call_is_explained(holdfast, arguments, code):
    """The exit code is the effect."""
    tool, *rest = arguments

    result = holdfast("policy", "explain", BUNDLE, tool, "--agent", "demo", *rest)

    assert result.code == code


def test_an_explanation_names_policies_and_places(holdfast):
    """Which policy, which line, and what the decision depends on."""
    result = holdfast(
        "policy", "explain", BUNDLE, "files.read", "--agent", "demo", "--arg", "path=workspace/x",
        "--json",
    )  # fmt: skip

    document = result.json()
    assert document["effect"] == "ALLOW"
    assert document["deciding_policies"]
    assert {"id", "path", "line", "effect", "outcome", "error"} == set(document["policies"][0])
