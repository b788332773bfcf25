# SPDX-License-Identifier: Apache-2.0
"""The HTTP family: the documents are valid, and every operation works when it is called by them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from soar_actions.catalogue import ACTIONS
from soar_actions.platforms.http.documents import openapi, swagger
from soar_actions.platforms.http.requests import EXAMPLE_KEY, requests_of
from tests.soar.host import SoarBed, waiting
from tests.soar.runners.http_family import DescribedApi, document
from tests.soar.venvs import python_of
from tests.support.certificates import Authority
from tests.support.processes import Zygote

ARTEFACT = Path(__file__).resolve().parents[2] / "soar_actions/platforms/http/artefact"
DOCUMENTS = ("openapi.json", "logic-apps/apiDefinition.swagger.json")
OPERATIONS = sorted(
    operation["operationId"] for item in document()["paths"].values() for operation in item.values()
)
_VALIDATE = """
import json, sys
from openapi_spec_validator import validate
validate(json.load(open(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def bed(zygote: Zygote, authority: Authority) -> Iterator[SoarBed]:
    host = SoarBed(zygote, authority, spare_agents=3, guarded=2)
    try:
        yield host.begin()
    finally:
        host.close()


def _validated(path: Path) -> subprocess.CompletedProcess[str]:
    python = python_of("http")
    if not isinstance(python, Path):
        pytest.skip(f"not run: {python}")
    return subprocess.run(
        [str(python), "-c", _VALIDATE, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_is_valid(name: str) -> None:
    """By openapi-spec-validator, which knows 3.1 and 2.0."""
    done = _validated(ARTEFACT / name)

    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_that_is_broken_is_not_valid_negative_control(name: str, tmp_path: Path) -> None:
    """The validator sees a response without a description."""
    broken = json.loads((ARTEFACT / name).read_text())
    operation = next(iter(next(iter(broken["paths"].values())).values()))
    del operation["responses"]["200"]["description"]
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(broken))

    assert _validated(path).returncode != 0


def test_every_action_is_described() -> None:
    """Parity: each action of the catalogue has at least one operation, with an example."""
    described: dict[str, list[str]] = {}
    for item in document()["paths"].values():
        for operation in item.values():
            for slug in operation.get("x-holdfast-actions", ()):
                described.setdefault(slug, []).append(operation["operationId"])
                media = operation["requestBody"]["content"]["application/json"]
                assert slug in media["examples"]

    assert set(described) == set(ACTIONS)


@pytest.mark.parametrize("slug", ACTIONS)
def test_example_is_of_the_form_that_is_described(slug: str) -> None:
    """What the catalogue's handler sends is what control describes."""
    paths = document()["paths"]
    for call in requests_of(slug):
        media = paths[f"/sidecar.api.v1.{call.method}"]["post"]["requestBody"]["content"]
        validator(media["application/json"]["schema"]).validate(dict(call.body))


def validator(schema: Mapping[str, Any]) -> Any:
    """Return a validator of *schema*, which refers to the document's components."""
    return jsonschema_rs.validator_for({**schema, "components": document()["components"]})


def test_logic_apps_gets_what_it_shows() -> None:
    """Every operation has a summary, and no two have one id; only HTTPS is offered."""
    found = swagger()
    operations = [one for item in found["paths"].values() for one in item.values()]

    assert found["swagger"] == "2.0"
    assert found["schemes"] == ["https"]
    assert len(found["info"]["title"]) <= 30
    assert "API" not in found["info"]["title"] + found["info"]["description"]
    assert all(re.fullmatch(r"[A-Z][A-Za-z ]{2,78}[a-z]", one["summary"]) for one in operations)
    assert all(one["description"] for one in operations)
    assert len({one["operationId"] for one in operations}) == len(operations)
    assert list(found["securityDefinitions"]) == ["bearer"]


def test_connection_of_logic_apps_keeps_the_token_secret() -> None:
    """The key of a connection is a secure string, and there is nothing to switch TLS off."""
    properties = json.loads((ARTEFACT / "logic-apps/apiProperties.json").read_text())["properties"]
    parameters = properties["connectionParameters"]

    assert parameters["api_key"]["type"] == "securestring"
    assert set(parameters) == {"hostUrl", "api_key"}


def test_nothing_is_described_that_approves() -> None:
    """A playbook is not even offered what its token could not do."""
    for made in (openapi(), swagger()):
        names = {one["operationId"] for item in made["paths"].values() for one in item.values()}
        assert not names & {
            "DecideApproval",
            "ReloadPolicySet",
            "CreateApiToken",
            "RotateApiToken",
            "RevokeApiToken",
        }


def test_every_operation_works_when_called_by_the_document(bed: SoarBed) -> None:
    """Each once, with the document's own example of it, put to things that this host has."""
    api = DescribedApi(bed.asset())
    agent, guarded = bed.fresh_agent(), bed.fresh_guarded()
    real = _things(api, bed, agent, guarded)

    statuses, shapes = {}, {}
    for name in OPERATIONS:
        operation = api.operation(name)
        if "requestBody" in operation:
            examples = operation["requestBody"]["content"]["application/json"]["examples"]
            body = _put(
                next(iter(examples.values()))["value"], {**real, EXAMPLE_KEY: f"doc-{name}"}
            )
            answer = api.call(name, body)
        else:
            answer = api.call(name, path_values={"operation": real[_OPERATION].partition("/")[2]})
        statuses[name] = answer.status
        described = operation["responses"].get(
            str(answer.status), operation["responses"]["default"]
        )
        schema = described["content"]["application/json"]["schema"]
        shapes[name] = validator(schema).is_valid(dict(answer.body)), answer.body

    assert {name: status for name, status in statuses.items() if status not in (200, 202)} == {}
    assert {name: body for name, (is_valid, body) in shapes.items() if not is_valid} == {}
    assert set(statuses.values()) == {200, 202}


_OPERATION = "operations/apr_0123456789abcdef0123456789abcdef"
_PROBE = "operations/apr_00000000000000000000000000000000"
_APPROVAL = "approvals/apr_0123456789abcdef0123456789abcdef"
_INCIDENT = "incidents/inc_0123456789abcdef0123456789abcdef"


def _things(api: DescribedApi, bed: SoarBed, agent: str, guarded: str) -> dict[str, str]:
    """Make one of each kind of thing; return what stands for what in the examples."""

    async def tool_call() -> None:
        async with bed.agent(agent) as client:
            await client.ask()

    waiting(tool_call())
    order = {"level": "LEVEL_KILL", "reason": "a test"}
    done = api.call("Contain", {"target": {"agent": agent}, **order}, key="doc-first-contain")
    held = api.call("Contain", {"target": {"agent": guarded}, **order}, key="doc-held-contain")
    opened = api.call(
        "OpenIncident", {"agent": agent, "title": "a test", "severity": "LOW"}, key="doc-incident"
    )
    assert (done.status, held.status, opened.status) == (200, 202, 200), (done, held, opened)
    operation = held.body["operation"]
    assert held.headers["Location"] == f"/v1/{operation['name']}"
    assert int(held.headers["Retry-After"]) > 0
    return {
        "banking": agent,
        "42": done.body["receipt"]["directive"]["epoch"],
        _OPERATION: operation["name"],
        _PROBE: operation["name"],
        _APPROVAL: operation["approval"],
        _INCIDENT: opened.body["incident"]["name"],
    }


def _put(value: Any, real: Mapping[str, str]) -> Any:
    """Return the example with what this host has in the places of what it names."""
    if isinstance(value, dict):
        return {key: _put(item, real) for key, item in value.items()}
    if isinstance(value, list):
        return [_put(item, real) for item in value]
    return real.get(value, value) if isinstance(value, str) else value
