# SPDX-License-Identifier: Apache-2.0
"""JSON to protobuf: what is exact comes through unchanged, and everything else is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.api.v1 import (
    agent_pb2,
    approval_pb2,
    containment_pb2,
    operation_pb2,
    token_pb2,
    types_pb2,
)
from sidecar.errors import ErrorReason, UntrustedInputError
from sidecar.jsonapi import decode as module
from sidecar.jsonapi.decode import MAX_BODY_BYTES, decode, parse_object
from sidecar.jsonapi.encode import encode, json_bytes

_TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=40)
_TIME = st.fixed_dictionaries(
    {
        "seconds": st.integers(-62_135_596_800, 253_402_300_799),
        "nanos": st.integers(0, 999_999_999),
    }
)


def _read(message: Message, text: str | bytes) -> Any:
    data = text.encode() if isinstance(text, str) else text
    return decode(parse_object(data), message)


def _values(field: Any) -> st.SearchStrategy[Any]:
    """Return values of one field, whatever its type."""
    if field.message_type is not None:
        if field.message_type.full_name == "google.protobuf.Timestamp":
            return _TIME
        if field.message_type.full_name == "google.protobuf.Duration":
            return st.fixed_dictionaries(
                {"seconds": st.integers(0, 10**9), "nanos": st.integers(0, 999_999_999)}
            )
        return _messages(field.message_type)
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    kinds: dict[int, st.SearchStrategy[Any]] = {
        field.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        field.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
        field.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
        field.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
        field.CPPTYPE_BOOL: st.booleans(),
    }
    if field.cpp_type in kinds:
        return kinds[field.cpp_type]
    return st.binary(max_size=40) if field.type == field.TYPE_BYTES else _TEXT


def _messages(descriptor: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Return the arguments of messages of one type, with at most one member of each oneof."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for field in descriptor.fields:
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            value = _values(entry.fields_by_name["value"])
            fields[field.name] = st.dictionaries(_TEXT, value, max_size=3)
        elif field.is_repeated:
            fields[field.name] = st.lists(_values(field), max_size=3)
        else:
            fields[field.name] = _values(field)

    def alone(chosen: dict[str, Any]) -> dict[str, Any]:
        taken: set[str] = set()
        kept = {}
        for name, value in chosen.items():
            oneof = descriptor.fields_by_name[name].containing_oneof
            if oneof is not None:
                if oneof.name in taken:
                    continue
                taken.add(oneof.name)
            kept[name] = value
        return kept

    return st.fixed_dictionaries({}, optional=fields).map(alone)


@pytest.mark.parametrize(
    "kind",
    [
        containment_pb2.ContainRequest,
        containment_pb2.ContainResponse,
        token_pb2.RevokeTokensRequest,
        agent_pb2.GetAgentResponse,
        approval_pb2.GetApprovalResponse,
    ],
)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_written_is_what_is_read(kind: type[Message], data: st.DataObject) -> None:
    """Message to JSON to message is the same message, and protobuf's own reader agrees."""
    message = kind(**data.draw(_messages(kind.DESCRIPTOR)))

    text = json_bytes(encode(message))

    assert _read(kind(), text) == message
    assert json_format.Parse(text, kind()) == message


@settings(max_examples=200, deadline=None)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | _TEXT,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["target", "agent", "level", "reason", "ttl", "session", "all", "x"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    )
)
def test_any_json_is_read_as_protobuf_reads_it_or_refused(value: Any) -> None:
    """No other exception leaves it, and what it takes, protobuf's own reader takes as the same."""
    text = json.dumps(value)
    try:
        found = _read(containment_pb2.ContainRequest(), text)
    except UntrustedInputError:
        return

    assert found == json_format.Parse(text, containment_pb2.ContainRequest())


def test_both_spellings_of_a_name_are_taken() -> None:
    """``requestId`` and ``request_id`` are one field."""
    first = _read(containment_pb2.ReleaseRequest(), '{"requestId":"12345678","epoch":7}')
    second = _read(containment_pb2.ReleaseRequest(), '{"request_id":"12345678","epoch":"7"}')

    assert first == second == containment_pb2.ReleaseRequest(request_id="12345678", epoch=7)


def test_empty_object_is_a_member_of_its_oneof() -> None:
    """``{"all": {}}`` is a target, and not none."""
    found = _read(types_pb2.Target(), '{"all":{}}')

    assert found.WhichOneof("kind") == "all"


def test_null_is_an_absent_field() -> None:
    """What null is said of is not set, whatever its type."""
    found = _read(
        containment_pb2.ContainRequest(),
        '{"target":null,"level":null,"reason":null,"ttl":null,"validateOnly":null}',
    )

    assert found == containment_pb2.ContainRequest()


RELEASE = containment_pb2.ReleaseRequest
CONTAIN = containment_pb2.ContainRequest
REVOKE = token_pb2.RevokeTokensRequest
OPERATION = operation_pb2.GetOperationRequest


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        pytest.param(RELEASE, "", id="nothing"),
        pytest.param(RELEASE, "[]", id="array"),
        pytest.param(RELEASE, "null", id="null"),
        pytest.param(RELEASE, '{"epoch":1} ,', id="goes-on"),
        pytest.param(RELEASE, '{"epoch":1}{"epoch":2}', id="two-objects"),
        pytest.param(RELEASE, '{"epoch":1,"epoch":1}', id="key-twice"),
        pytest.param(RELEASE, '{"requestId":"12345678","request_id":"12345678"}', id="both-names"),
        pytest.param(CONTAIN, '{"target":{"agent":"a","agent":"b"}}', id="key-twice-inside"),
        pytest.param(CONTAIN, '{"target":{"agent":"a","tool":"b"}}', id="two-of-a-oneof"),
        pytest.param(CONTAIN, '{"target":{"agent":"a","all":{}}}', id="two-of-a-oneof-empty"),
        pytest.param(RELEASE, '{"epoch":1,"force":true}', id="unknown-field"),
        pytest.param(CONTAIN, '{"target":{"agent":"a","x":1}}', id="unknown-field-inside"),
        pytest.param(CONTAIN, '{"target":{"all":{"x":1}}}', id="unknown-field-in-empty"),
        pytest.param(RELEASE, '{"Epoch":1}', id="other-case"),
        pytest.param(RELEASE, '{"epoch":NaN}', id="nan"),
        pytest.param(RELEASE, '{"epoch":Infinity}', id="infinity"),
        pytest.param(RELEASE, '{"epoch":1.5}', id="fraction"),
        pytest.param(RELEASE, '{"epoch":-1}', id="negative"),
        pytest.param(RELEASE, '{"epoch":true}', id="bool-as-number"),
        pytest.param(RELEASE, '{"epoch":"1_000"}', id="underscore"),
        pytest.param(RELEASE, '{"epoch":" 1"}', id="space"),
        pytest.param(RELEASE, '{"epoch":"+1"}', id="plus"),
        pytest.param(RELEASE, '{"epoch":"01"}', id="leading-zero"),
        pytest.param(RELEASE, '{"epoch":"1.0"}', id="fraction-text"),
        pytest.param(RELEASE, '{"epoch":"1e3"}', id="exponent-text"),
        pytest.param(RELEASE, '{"epoch":"١"}', id="other-digits"),
        pytest.param(RELEASE, '{"epoch":""}', id="empty-number"),
        pytest.param(RELEASE, '{"epoch":"18446744073709551616"}', id="too-large"),
        pytest.param(RELEASE, '{"epoch":18446744073709551615}', id="beyond-double"),
        pytest.param(CONTAIN, '{"throttleCallsPerMinute":2147483648}', id="too-large-32"),
        pytest.param(CONTAIN, '{"level":6}', id="enum-number"),
        pytest.param(CONTAIN, '{"level":"6"}', id="enum-number-text"),
        pytest.param(CONTAIN, '{"level":"KILL"}', id="enum-short"),
        pytest.param(CONTAIN, '{"level":"level_kill"}', id="enum-case"),
        pytest.param(CONTAIN, '{"validateOnly":"true"}', id="bool-text"),
        pytest.param(CONTAIN, '{"validateOnly":1}', id="bool-number"),
        pytest.param(CONTAIN, '{"reason":1}', id="text-number"),
        pytest.param(CONTAIN, '{"reason":"\\ud800"}', id="lone-surrogate"),
        pytest.param(CONTAIN, '{"reason":"\\u0000"}', id="nul"),
        pytest.param(CONTAIN, '{"target":"alpha"}', id="text-as-message"),
        pytest.param(CONTAIN, '{"target":[]}', id="array-as-message"),
        pytest.param(CONTAIN, '{"ttl":"1h"}', id="span-unit"),
        pytest.param(CONTAIN, '{"ttl":60}', id="span-number"),
        pytest.param(CONTAIN, '{"ttl":"1_0s"}', id="span-underscore"),
        pytest.param(CONTAIN, '{"ttl":" 1s"}', id="span-space"),
        pytest.param(CONTAIN, '{"ttl":"1.s"}', id="span-dot"),
        pytest.param(CONTAIN, '{"ttl":"999999999999s"}', id="span-too-long"),
        pytest.param(CONTAIN, '{"ttl":{"seconds":1}}', id="span-message"),
        pytest.param(REVOKE, '{"issuedBefore":"2026-01-01"}', id="date"),
        pytest.param(REVOKE, '{"issuedBefore":"2026-01-01T00:00:00"}', id="no-zone"),
        pytest.param(REVOKE, '{"issuedBefore":"2026-01-01T00:00:00+01:00"}', id="other-zone"),
        pytest.param(REVOKE, '{"issuedBefore":"2026-02-30T00:00:00Z"}', id="no-such-day"),
        pytest.param(REVOKE, '{"issuedBefore":"2026-01-01T24:00:00Z"}', id="no-such-hour"),
        pytest.param(REVOKE, '{"issuedBefore":"0000-01-01T00:00:00Z"}', id="no-such-year"),
        pytest.param(REVOKE, '{"issuedBefore":"2026-01-01t00:00:00z"}', id="lower-case-time"),
        pytest.param(REVOKE, '{"issuedBefore":1767225600}', id="time-number"),
        pytest.param(OPERATION, '{"name":["operations/x"]}', id="array-as-text"),
    ],
)
def test_whatever_is_not_exact_is_refused(kind: type[Message], text: str) -> None:
    """Refused by name, and never with a piece of what came."""
    with pytest.raises(UntrustedInputError) as caught:
        _read(kind(), text)

    assert caught.value.reason is ErrorReason.MALFORMED


@pytest.mark.parametrize(
    "text", ['{"epoch":"1_000"}', '{"epoch":"01"}', '{"epoch":1.0}'], ids=["under", "zero", "float"]
)
def test_protobuf_own_reader_takes_what_we_refuse_negative_control(text: str) -> None:
    """The library is lenient: this is why there is a reader of our own. 1.0 is the integer 1."""
    found = json_format.Parse(text, RELEASE())

    assert found.epoch >= 1


@pytest.mark.parametrize(
    "text",
    ["YQ", "YQ=", "Y Q=", "YQ==\n", "YQ=*", "YR==", "YQ===", "A", "=", "YQ==YQ==", "é==="],
)
def test_base64_has_one_form(text: str) -> None:
    """No missing padding, no foreign character, no bits that belong to no byte."""
    with pytest.raises(UntrustedInputError):
        _read(approval_pb2.Approval(), json.dumps({"canonical": text}))


@pytest.mark.parametrize("encoder", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_of_either_alphabet_is_read(encoder: Any) -> None:
    """The standard alphabet and the one for URLs."""
    data = bytes(range(256))

    found = _read(approval_pb2.Approval(), json.dumps({"canonical": encoder(data).decode()}))

    assert found.canonical == data


def test_depth_and_size_are_bounded() -> None:
    """Deep nesting and long texts are refused before they cost anything."""
    with pytest.raises(UntrustedInputError, match="not taken: its values nest deeper than 32"):
        parse_object(b'{"a":' * 33 + b"1" + b"}" * 33)
    with pytest.raises(UntrustedInputError):
        parse_object(b'{"a":"' + b"x" * MAX_BODY_BYTES + b'"}')
    with pytest.raises(UntrustedInputError):
        parse_object(b'{"a":[' + b"1," * 60_000 + b"1]}")


@pytest.mark.parametrize("data", [b"\xff{}", b"\xef\xbb\xbf{}", '{"a":"ä"}'.encode("latin-1")])
def test_only_utf8_without_a_mark_is_text(data: bytes) -> None:
    """Other encodings, and a byte order mark, are refused."""
    with pytest.raises(UntrustedInputError):
        parse_object(data)


def test_a_refusal_never_repeats_what_came() -> None:
    """It is hostile text on its way to a terminal, a page or a log."""
    for text in (
        '{"canary":1}',
        '{"level":"canary"}',
        '{"target":{"canary":{}}}',
        '{"ttl":"canary"}',
    ):
        with pytest.raises(UntrustedInputError) as caught:
            _read(CONTAIN(), text)
        assert "canary" not in str(caught.value)


def test_unknown_fields_would_be_dropped_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the guard taken out an order is taken that nobody understood."""

    class Everything(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            return super().get(key) or self["reason"]

    known = Everything(module._fields_of(CONTAIN.DESCRIPTOR))
    monkeypatch.setitem(module._FIELDS, "sidecar.api.v1.ContainRequest", known)

    found = _read(CONTAIN(), '{"unless":"told otherwise"}')

    assert found.reason == "told otherwise"
