# SPDX-License-Identifier: Apache-2.0
"""Arguments against their schema: A16 (missing), A17 (type), and which schemas may be written."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.policy import arguments as arguments_module
from sidecar.policy.arguments import ArgumentsValidator, check_schema, closed_schema

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "recipient": {"type": "string", "minLength": 1, "maxLength": 20},
        "amount": {"type": "number", "exclusiveMinimum": 0},
        "count": {"type": "integer"},
        "urgent": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2, "uniqueItems": True},
        "memo": {"type": ["string", "null"]},
        "level": {"type": "string", "enum": ["low", "high"]},
        "code": {"type": "string", "pattern": "^(a+)+$"},
        "place": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "a/b": {"type": "integer"}},
            "required": ["city"],
        },
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
    },
    "required": ["recipient"],
}
GOOD: dict[str, Any] = {"recipient": "acme"}


def validator(reveal: frozenset[str] = frozenset()) -> ArgumentsValidator:
    return ArgumentsValidator(SCHEMA, reveal=reveal)


def problems(schema: Any) -> list[tuple[tuple[str | int, ...], str, str]]:
    found: list[tuple[tuple[str | int, ...], str, str]] = []
    usable = check_schema(schema, lambda path, message, hint: found.append((path, message, hint)))
    assert usable is not bool(found)
    return found


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"amount": 1},
        {"amount": 0.5},
        {"count": 5},
        {"count": 5.0},
        {"count": -(2**53) + 1},
        {"urgent": True},
        {"tags": []},
        {"tags": ["a", "b"]},
        {"memo": None},
        {"memo": ""},
        {"level": "low"},
        {"code": "aaa"},
        {"place": {"city": "x", "a/b": 1}},
        {"either": "x"},
        {"either": 1},
    ],
)
def test_arguments_that_match_pass(more: dict[str, Any]) -> None:
    """Each form that the schema allows passes; 5.0 is the integer 5."""
    assert validator().problem({**GOOD, **more}) is None


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"recipient": 5}, "/recipient"),
        ({"recipient": ["acme"]}, "/recipient"),
        ({"recipient": None}, "/recipient"),
        ({"recipient": ""}, "/recipient"),
        ({"recipient": "x" * 21}, "/recipient"),
        ({"amount": "5"}, "/amount"),
        ({"amount": True}, "/amount"),
        ({"amount": 0}, "/amount"),
        ({"amount": float("nan")}, "/amount"),
        ({"amount": float("inf")}, "/amount"),
        ({"count": 1.5}, "/count"),
        ({"count": "5"}, "/count"),
        ({"count": True}, "/count"),
        ({"count": 2**53}, "/count"),
        ({"count": 1e300}, "/count"),
        ({"count": 10**400}, "/count"),
        ({"urgent": 1}, "/urgent"),
        ({"urgent": "true"}, "/urgent"),
        ({"urgent": None}, "/urgent"),
        ({"tags": "a"}, "/tags"),
        ({"tags": {"0": "a"}}, "/tags"),
        ({"tags": [1]}, "/tags/0"),
        ({"tags": ["a", "b", "c"]}, "/tags"),
        ({"tags": ["a", "a"]}, "/tags"),
        ({"memo": 1}, "/memo"),
        ({"level": "LOW"}, "/level"),
        ({"code": "aab"}, "/code"),
        ({"place": {"city": 1}}, "/place/city"),
        ({"place": {"city": "x", "a/b": "1"}}, "/place/a~1b"),
        ({"place": {"city": "x", "zip": 1}}, "/place"),
        ({"place": []}, "/place"),
        ({"either": None}, "/either"),
        ({"either": 1.5}, "/either"),
        ({"extra": 1}, ""),
        ({"Recipient": "x"}, ""),
        ({"recipient ": "x"}, ""),
    ],
)
def test_a17_another_type_or_shape_is_a_schema_problem(more: dict[str, Any], pointer: str) -> None:
    """Nothing is coerced, every object is closed, and the pointer says where."""
    problem = validator().problem({**GOOD, **more})

    assert problem is not None
    assert (problem.kind, problem.pointer) == ("SCHEMA", pointer)


@pytest.mark.parametrize("schema", ["open", "closed"])
def test_a17_closed_objects_negative_control(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without closing the objects, an argument that nobody described would pass."""
    if schema == "open":
        monkeypatch.setattr(arguments_module, "closed_schema", dict)

    problem = validator().problem({**GOOD, "extra": 1})

    assert (problem is None) == (schema == "open")


@pytest.mark.parametrize(
    ("arguments", "pointer"),
    [
        ({}, "/recipient"),
        ({"amount": 5}, "/recipient"),
        ({"amount": "wrong too"}, "/recipient"),
        ({**GOOD, "place": {}}, "/place/city"),
    ],
)
def test_a16_missing_arguments_are_named(arguments: dict[str, Any], pointer: str) -> None:
    """An empty call, or one without a required argument, misses that argument."""
    problem = validator().problem(arguments)

    assert problem is not None
    assert (problem.kind, problem.pointer) == ("MISSING_ARGUMENT", pointer)
    assert problem.text.endswith("is missing")


def test_a16_required_negative_control() -> None:
    """Without `required` in the schema the empty call would pass."""
    open_schema = {key: value for key, value in SCHEMA.items() if key != "required"}

    assert ArgumentsValidator(open_schema, reveal=frozenset()).problem({}) is None


@pytest.mark.parametrize(
    "arguments",
    [
        None, [], "x", 5, [("recipient", "x")], {**GOOD, "code": "\ud800"}, {"recipi\udc00": 1},
        {5: 1}, {"recipient": b"x"}, {"recipient": object()}, {**GOOD, "memo": {1, 2}},
    ],
)  # fmt: skip
def test_what_is_not_json_is_a_problem_not_an_exception(arguments: Any) -> None:
    """Anything at all gets an answer."""
    problem = validator().problem(arguments)

    assert problem is not None
    assert problem.kind == "SCHEMA"


def test_deep_arguments_are_a_problem_not_an_exception() -> None:
    """Nesting without end is refused like any other mismatch."""
    deep: Any = "x"
    for _ in range(50_000):
        deep = [deep]

    problem = validator().problem({**GOOD, "tags": deep})

    assert problem is not None


def test_k04_patterns_run_in_linear_time() -> None:
    """A pattern that makes backtracking engines explode answers at once."""
    start = time.perf_counter()

    problem = validator().problem({**GOOD, "code": "a" * 200_000 + "!"})

    assert problem is not None
    assert time.perf_counter() - start < 1


def test_problems_show_values_only_of_revealed_arguments() -> None:
    """The sentence holds a wrong value only where the tool reveals the argument."""
    wrong = {**GOOD, "level": "canary-7c1d"}

    hidden = validator().problem(wrong)
    shown = validator(frozenset({"level"})).problem(wrong)

    assert hidden is not None
    assert hidden.text == 'the argument "level" must be one of "low", "high"'
    assert shown is not None
    assert shown.text.endswith(', not "canary-7c1d"')


def test_problems_do_not_repeat_names_that_the_caller_made_up() -> None:
    """An unknown argument's name may hold anything, so it is not repeated."""
    problem = validator().problem({**GOOD, "canary-7c1d": 1})
    near = validator().problem({**GOOD, "recipientt": 1})
    inside = validator().problem({**GOOD, "place": {"city": "x", "canary": 1}})

    assert problem is not None
    assert "canary" not in problem.text
    assert "it takes recipient, amount" in problem.text
    assert near is not None
    assert near.text.endswith('did you mean "recipient"?')
    assert inside is not None
    assert "canary" not in inside.text + inside.pointer


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*SCHEMA["properties"], "extra"]), _json))
def test_a17_whatever_passes_has_exactly_the_declared_types(arguments: dict[str, Any]) -> None:
    """For any JSON, what passes has the types of the schema and no others."""
    if validator().problem(arguments) is not None:
        return

    types: dict[str, tuple[type, ...]] = {
        "recipient": (str,), "amount": (int, float), "count": (int, float), "urgent": (bool,),
        "tags": (list,), "memo": (str, type(None)), "level": (str,), "code": (str,),
        "place": (dict,), "either": (str, int, float),
    }  # fmt: skip
    assert "recipient" in arguments
    for name, value in arguments.items():
        assert type(value) in types[name]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"type": "string", "format": "uri"}, '"format" is not supported'),
        ({"type": "string", "default": "x"}, '"default" is not supported'),
        ({"$ref": "#/x"}, "has no type"),
        ({"type": "string", "$ref": "#/x"}, "is not supported"),
        ({"type": "string", "not": {}}, "is not supported"),
        ({"type": "string", "contentEncoding": "base64"}, "is not supported"),
        ({"type": "string", "maxLenght": 3}, "is not supported"),
        ({"type": "string", "minimum": 3}, "does not apply"),
        ({"type": "integer", "multipleOf": 2}, "is not supported"),
        ({"type": "integer", "minimum": "x"}, "cannot be compiled|can be compiled"),
        ({"type": "strng"}, '"strng" is not one of'),
        ({"type": 5}, "5 is not one of"),
        ({"type": []}, "has no type"),
        ({}, "has no type"),
        ("string", "should be a schema"),
        ({"oneOf": [{"type": "string"}]}, "has no type"),
        ({"anyOf": []}, "list of schemas"),
        ({"anyOf": [{"type": "string"}], "type": "string"}, "cannot stand beside anyOf"),
        ({"anyOf": [{"type": "strng"}]}, "is not one of"),
        ({"type": "array"}, "does not say what the array holds"),
        ({"type": "array", "items": {"type": "x"}}, "is not one of"),
        ({"type": "object"}, "needs `properties`"),
        ({"type": "object", "properties": {}, "additionalProperties": True}, "must be false"),
        ({"type": "object", "properties": {}, "additionalProperties": {}}, "must be false"),
        ({"type": "object", "properties": {"__entity": {"type": "string"}}}, "argument name"),
        ({"type": "object", "properties": {"__extn": {"type": "string"}}}, "argument name"),
        ({"type": "object", "properties": {"a b": {"type": "string"}}}, "argument name"),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]}, "among"),
        ({"type": "object", "properties": {}, "required": "b"}, "list of argument names"),
        ({"type": "object", "properties": {}, "patternProperties": {}}, "is not supported"),
        ({"type": "string", "pattern": "("}, "linear time"),
        ({"type": "string", "pattern": "(?=a)"}, "linear time"),
        ({"type": "string", "pattern": "(a)\\1"}, "linear time"),
        ({"type": "string", "pattern": "((a{100}){100}){100}"}, "linear time"),
        ({"type": "string", "pattern": 5}, "linear time"),
        ({"type": "string", "enum": []}, "list of the allowed values"),
        ({"type": "string", "enum": "a"}, "list of the allowed values"),
    ],
)
def test_schemas_outside_the_subset_are_refused(part: Any, words: str) -> None:
    """A keyword that would not be enforced, or that we cannot bound, is an error at load."""
    found = problems({"type": "object", "properties": {"p": part}})

    text = " ".join(message for _, message, _ in found)
    assert any(word in text for word in words.split("|")), text


def test_schemas_nest_only_so_deep() -> None:
    """A schema deeper than a dozen levels is refused."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(20):
        schema = {"type": "array", "items": schema}

    found = problems({"type": "object", "properties": {"p": schema}})

    assert "deeper than 12" in found[0][1]
    assert problems({"type": "string"})[0][1] == "arguments are described by an object"


def test_the_enforced_schema_is_closed_and_bounded_everywhere() -> None:
    """Every object of the enforced schema is closed, every integer an I-JSON integer."""
    closed = closed_schema(
        {
            "type": "object",
            "title": "t",
            "properties": {
                "n": {"type": "integer", "minimum": 0},
                "o": {"type": "array", "items": {"type": "object", "properties": {}}},
                "p": {"anyOf": [{"type": "object", "properties": {}}, {"type": "null"}]},
            },
        }
    )

    assert closed == {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "n": {"type": "integer", "minimum": 0, "maximum": 2**53 - 1},
            "o": {
                "type": "array",
                "items": {"type": "object", "properties": {}, "additionalProperties": False},
            },
            "p": {
                "anyOf": [
                    {"type": "object", "properties": {}, "additionalProperties": False},
                    {"type": "null"},
                ]
            },
        },
    }
