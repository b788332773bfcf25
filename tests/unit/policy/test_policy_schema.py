# SPDX-License-Identifier: Apache-2.0
"""The generated Cedar schema: a policy that names what does not exist fails at load."""

from __future__ import annotations

from typing import Any

import cedarpy
import pytest

from sidecar.documents import DocumentErrors
from sidecar.policy.arguments import ArgumentsValidator
from sidecar.policy.bundle import load_bundle_from_files
from sidecar.policy.schema import entities_json, schema_text
from sidecar.policy.types import Scalar, SetType, type_at, visible_record


def refusal(contents: dict[str, bytes]) -> DocumentErrors:
    with pytest.raises(DocumentErrors) as caught:
        load_bundle_from_files(contents)
    return caught.value


def send(condition: str) -> str:
    return (
        '@id("a")\npermit(principal, action == Action::"send_money", resource)\n'
        f"when {{\n  true &&\n  {condition}\n}};"
    )


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ('context.args.recipent == "x"', 'args.recipent` in context for Action::"send_money" not'),
        ('context.args.recipent == "x"', 'did you mean "recipient"?'),
        ("context.args.count > 5", "ask first: `… has count && …`"),
        ('context.args.place.city == "x"', "ask first"),
        ("context.sesion == context.session", "`sesion` in context"),
        ('context.destination.host == "x"', "`destination` in context"),
        ("principal.facts.limt > 5", "facts.limt"),
        ("principal.facts.trial", "ask first"),
        ('principal.labels.env == "x"', "ask first"),
        ('principal.labels.evn == "x"', "labels.evn"),
        ('resource.clas == "read"', "`clas`"),
        ("context.args.zzz", "policies see: recipient, amount, count, urgent, tags, memo, place"),
    ],
)
def test_a_misspelt_name_fails_at_load_with_file_and_line(
    condition: str, words: str, files: Any
) -> None:
    """The error names policy, file and the line of the word."""
    error = refusal(files(send(condition)))

    assert any(words in str(problem) for problem in error.all), str(error)
    assert {(problem.path, problem.line) for problem in error.all} == {("policies/main.cedar", 5)}


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("context.args.recipient == 5", "the types"),
        ("context.args.recipient > 5", "expected Long but saw String"),
        ("context.args.amount > 5", "but saw decimal"),
    ],
)
def test_a_wrong_type_fails_at_load_with_the_policy(condition: str, words: str, files: Any) -> None:
    """A type error quotes no name, so it is placed where the policy begins."""
    error = refusal(files(send(condition)))

    assert words in str(error)
    assert (error.path, error.line) == ("policies/main.cedar", 1)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ('permit(principal, action == Action::"send_mony", resource);', 'mean "send_money"?'),
        ('permit(principal == Agent::"bankng", action, resource);', 'did you mean "banking"?'),
        ('forbid(principal, action, resource == Tool::"pong");', 'did you mean "ping"?'),
        ('forbid(principal, action, resource) when { principal == Agent::"x" };', "agents.yaml"),
        ('forbid(principal == User::"banking", action, resource);', "unrecognized entity type"),
        ('forbid(principal is Group, action == Action::"ping", resource);', "applicable action"),
        ('permit(principal, action, resource) when { context.args.path == "x" };',
         "the policy applies to"),
    ],
)  # fmt: skip
def test_names_of_agents_and_tools_must_exist(policy: str, words: str, files: Any) -> None:
    """A policy about an agent or tool that does not exist would silently do nothing."""
    error = refusal(files(f'\n@id("a") {policy}'))

    assert any(words in str(problem) for problem in error.all), str(error)
    assert {problem.line for problem in error.all} == {2}


@pytest.mark.parametrize(
    "condition",
    [
        'context.args.recipient like "a*"',
        'context.args.amount.lessThan(decimal("5.0"))',
        "context.args has count && context.args.count > 5",
        "context.args has urgent && context.args.urgent",
        'context.args has tags && context.args.tags.contains("x")',
        'context.args has memo && context.args.memo == "x"',
        "context.args has place.zip && context.args.place.zip == 1",
        'context.session == "s"',
        "principal.facts.limit > 5 && principal.facts.payees.contains(context.args.recipient)",
        "principal.facts has trial && principal.facts.trial",
        'principal.labels has env && principal.labels.env == "demo"',
        'principal.owner == "x" && principal in Group::"staff"',
        'resource.class == "write" && resource.data_class == "financial"',
    ],
)
def test_every_visible_attribute_can_be_read(condition: str, bundle: Any) -> None:
    """What the schema describes is there under its name and type."""
    assert len(bundle(send(condition)).policies) == 1


def test_the_destination_belongs_to_network_tools(bundle: Any) -> None:
    """A network tool has scheme, host and port, without asking first."""
    assert bundle(
        '@id("a") permit(principal, action == Action::"fetch", resource) when { '
        'context.destination.scheme == "https" && context.destination.host like "*.example.com" '
        "&& context.destination.port == 443 };"
    )


def test_types_follow_the_table() -> None:
    """Each JSON type becomes its Cedar type; unions and odd things are not visible."""
    record = visible_record(
        {
            "type": "object",
            "properties": {
                "s": {"type": "string"},
                "b": {"type": "boolean"},
                "i": {"type": "integer"},
                "n": {"type": "number"},
                "l": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
                "o": {
                    "type": "object",
                    "properties": {"x": {"type": "string"}, "u": {"type": ["string", "integer"]}},
                    "required": ["x"],
                },
                "opt": {"type": "string"},
                "nul": {"type": ["null", "string"]},
                "any": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                "u1": {"type": ["string", "integer"]},
                "u2": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                "u3": {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
                "u4": {"type": "array", "items": {"type": ["string", "null"]}},
                "u5": {"type": "null"},
            },
            "required": ["s", "b", "i", "n", "l", "o", "nul", "any", "u1"],
        }
    )

    assert {name: attribute.is_required for name, attribute in record.attributes.items()} == {
        "s": True, "b": True, "i": True, "n": True, "l": True, "o": True, "opt": False,
        "nul": False, "any": False,
    }  # fmt: skip
    assert type_at(record, ("s",)) is Scalar.STRING
    assert type_at(record, ("any",)) is Scalar.LONG
    assert type_at(record, ("l",)) == SetType(SetType(Scalar.DECIMAL))
    assert type_at(record, ("o", "x")) is Scalar.STRING
    assert type_at(record, ("o", "u")) is None
    assert type_at(record, ("s", "x")) is None
    assert type_at(record, ()) is record


def test_odd_argument_names_are_quoted_not_interpreted(bundle: Any) -> None:
    """Names with dots, slashes, dollars and dashes are plain attribute names."""
    tools = (
        "version: 1\ntools:\n  ping:\n    class: read\n    arguments:\n      type: object\n"
        "      properties:\n"
        "        a.b: {type: string}\n        $top/x-y: {type: integer}\n        if: {type: string}\n"
    )

    loaded = bundle(
        '@id("a") permit(principal, action == Action::"ping", resource) when { '
        'context.args has "a.b" && context.args["a.b"] == "x" && '
        'context.args has "$top/x-y" && context.args["$top/x-y"] == 1 && '
        'context.args has "if" && context.args["if"] == "x" };',
        tools_yaml=tools,
    )

    assert '"a.b"?: __cedar::String' in schema_text(tools=loaded.tools, agents=loaded.agents)


def test_entities_conform_to_the_schema(bundle: Any) -> None:
    """Agents, groups and tools are entities that Cedar accepts under the generated schema."""
    loaded = bundle('@id("a") permit(principal, action == Action::"ping", resource);')

    text = entities_json(tools=loaded.tools, agents=loaded.agents)

    handle = cedarpy.Entities.from_json_str(text, schema=loaded.schema)
    assert len(handle) >= len(loaded.agents) + len(loaded.tools) + 2


def test_an_empty_policy_set_is_valid(bundle: Any) -> None:
    """No policy at all loads: it denies everything."""
    assert bundle("").policies == ()
    assert bundle("// only words\n").policies == ()


def test_a_validator_is_shared_by_nothing_it_is_given() -> None:
    """Changing the schema afterwards does not change what is enforced."""
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
    validator = ArgumentsValidator(schema, reveal=frozenset())
    schema["properties"]["b"] = {"type": "string"}

    assert validator.problem({"b": "x"}) is not None
