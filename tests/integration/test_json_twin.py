# SPDX-License-Identifier: Apache-2.0
"""The JSON port answers as gRPC does: the same methods, callers, refusals and effects."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any

import grpc
import jsonschema_rs
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from sidecar.api.v1 import (
    account_pb2,
    agent_pb2,
    api_token_pb2,
    approval_pb2,
    audit_pb2,
    containment_pb2,
    incident_pb2,
    investigation_pb2,
    operation_pb2,
    options_pb2,
    policy_pb2,
    token_pb2,
    types_pb2,
)
from tests.support.bundles import ROLES
from tests.support.certificates import Authority
from tests.support.clients import ControlClient, new_id, refused
from tests.support.processes import Zygote
from tests.support.twin import Answer, TwinBed, TwinClient

_MODULES = (
    account_pb2,
    agent_pb2,
    api_token_pb2,
    approval_pb2,
    audit_pb2,
    containment_pb2,
    incident_pb2,
    investigation_pb2,
    operation_pb2,
    policy_pb2,
    token_pb2,
)
METHODS: list[MethodDescriptor] = [
    method
    for module in _MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
UNARY = [method for method in METHODS if not method.server_streaming]
DOCUMENT: dict[str, Any] = json.loads(files("sidecar.jsonapi").joinpath("openapi.json").read_text())


@pytest.fixture(scope="module")
def bed(zygote: Zygote, authority: Authority) -> Iterator[TwinBed]:
    """A running host with a JSON port; each test takes agents of its own."""
    host = TwinBed(zygote, authority, spare_agents=60)
    try:
        host.begin()
        yield host
    finally:
        host.close()


def _path(method: MethodDescriptor) -> str:
    return f"{method.containing_service.name}/{method.name}"


async def _over_grpc(client: ControlClient, method: MethodDescriptor) -> tuple[str, str]:
    request = GetMessageClass(method.input_type)()
    call = client.channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )(request, timeout=20)
    try:
        await call
    except grpc.aio.AioRpcError as exc:
        if exc.code() is grpc.StatusCode.UNIMPLEMENTED:
            return "unimplemented", ""
        return exc.code().name.lower(), (await refused(_raise(exc))).reason
    return "ok", ""


async def _raise(error: grpc.aio.AioRpcError) -> None:
    raise error


async def _over_json(client: TwinClient, method: MethodDescriptor) -> tuple[str, str]:
    answer = await client.call(_path(method))
    return answer.code, "" if answer.code == "unimplemented" else answer.reason


@pytest.mark.parametrize("operator", [*(f"only-{role}" for role in ROLES), "nobody", "soar"])
async def test_every_method_answers_every_role_as_over_grpc(bed: TwinBed, operator: str) -> None:
    """Code and reason are the same for an empty request, whoever asks."""
    async with bed.operator(operator) as rpc, bed.json(operator) as web:
        over_grpc = [await _over_grpc(rpc, method) for method in UNARY]
        over_json = [await _over_json(web, method) for method in UNARY]

    assert dict(zip(map(_path, UNARY), over_json, strict=True)) == dict(
        zip(map(_path, UNARY), over_grpc, strict=True)
    )


async def test_without_permissions_everything_is_open_negative_control(
    zygote: Zygote, authority: Authority
) -> None:
    """The admission that both share is what refuses."""
    host = TwinBed(zygote, authority)
    try:
        host.launch_control(breakages=["no-permissions"])
        host.wait_control()
        async with host.json("nobody") as web:
            answer = await web.call("AuditService/ListEntries")
    finally:
        host.close()

    assert answer.status == 200


async def test_streams_are_not_offered(bed: TwinBed) -> None:
    """They are served over gRPC alone, and say so."""
    async with bed.json("alice") as web:
        answers = [await web.call(_path(m)) for m in METHODS if m.server_streaming]

    assert {(one.status, one.code) for one in answers} == {(501, "unimplemented")}


# -- reading ----------------------------------------------------------------------------------------


async def test_an_answer_says_what_grpc_says(bed: TwinBed) -> None:
    """Read back, it is the same message."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as rpc, bed.json("alice") as web:
        await rpc.contain(name, "OBSERVE")
        wanted = agent_pb2.GetAgentRequest(agent=name)
        over_grpc = (await rpc.agents.GetAgent(wanted)).agent
        answer = await web.call("AgentService/GetAgent", wanted)

    found = json_format.ParseDict(answer.json, agent_pb2.GetAgentResponse()).agent
    assert (found.agent, found.level, found.directives) == (
        over_grpc.agent,
        over_grpc.level,
        over_grpc.directives,
    )
    assert answer.json["agent"]["level"] == "LEVEL_OBSERVE"


async def test_every_answer_has_the_headers(bed: TwinBed) -> None:
    """Answers, refusals, documents and what is not there: none is cached, sniffed, framed or shared."""
    async with bed.json("alice") as web:
        answers = [
            await web.call("AgentService/ListAgents"),
            await web.call("AgentService/GetAgent", {"agent": "nobody-knows"}),
            await web.get("/openapi.json"),
            await web.get("/healthz"),
            await web.get("/nowhere", Origin="https://evil.example"),
        ]

    for answer in answers:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Strict-Transport-Security"].startswith("max-age=63072000")
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Server"] == "holdfast"
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


async def test_health_and_documents_need_no_credential(bed: TwinBed) -> None:
    """What says nothing about anybody is shown to everybody."""
    async with bed.json() as stranger:
        health = await stranger.get("/healthz")
        openapi = await stranger.get("/openapi.json")
        swagger = await stranger.get("/swagger.json")
        openc2 = await stranger.get("/openc2.schema.json")

    assert (health.status, health.json) == (200, {"status": "SERVING"})
    assert (openapi.json["openapi"], swagger.json["swagger"]) == ("3.1.0", "2.0")
    assert openc2.json["title"] == "OpenC2 messages of the actuator profile x-holdfast"


# -- who calls --------------------------------------------------------------------------------------


async def test_tokens_certificates_and_both_are_taken(bed: TwinBed) -> None:
    """A token alone, a certificate alone, or both of one operator; not of two, and not neither."""
    token = await bed.token("alice", "contain")
    async with (
        bed.json(token=token) as by_token,
        bed.json("alice") as by_certificate,
        bed.json("alice", token=token) as by_both,
        bed.json("bob", token=token) as by_two,
        bed.json() as by_nothing,
        bed.json(token=token[:-1] + ("A" if token[-1] != "A" else "B")) as by_guess,
    ):
        clients = (by_token, by_certificate, by_both, by_two, by_nothing, by_guess)
        answers = [await client.call("AgentService/ListAgents") for client in clients]

    assert [one.status for one in answers] == [200, 200, 200, 401, 401, 401]
    assert answers[4].headers["WWW-Authenticate"] == 'Bearer realm="holdfast"'


async def test_a_token_has_its_own_rights_and_not_its_operator_s(bed: TwinBed) -> None:
    """With the certificate shown beside it, too: a credential that is shown is never ignored."""
    token = await bed.token("alice", "contain")
    async with bed.json("alice") as web, bed.json("alice", token=token) as both:
        operator = await web.call("AuditService/ListEntries")
        limited = await both.call("AuditService/ListEntries")

    assert operator.status == 200
    assert (limited.status, limited.reason) == (403, "PERMISSION_MISSING")


async def test_a_token_limited_to_agents_is_limited_here(bed: TwinBed) -> None:
    """The scope is looked for in the message, whatever it travelled as."""
    mine, other = bed.fresh_agent(), bed.fresh_agent()
    token = await bed.token("alice", "contain", agents=[mine])
    async with bed.json(token=token) as web:
        answers = [
            await web.call(
                "ContainmentService/Contain",
                {
                    "requestId": new_id(),
                    "target": {"agent": name},
                    "level": "LEVEL_OBSERVE",
                    "reason": "a test",
                },
            )
            for name in (mine, other)
        ]

    assert [one.status for one in answers] == [200, 403]


async def test_a_refusal_is_recorded(bed: TwinBed) -> None:
    """Who tried what is in control's log, also when the body was no message."""
    async with bed.json("only-approve") as intruder, bed.json("alice") as alice:
        await intruder.call("AuditService/ListEntries")
        await alice.call("ContainmentService/Contain", {"target": {"agnet": "x"}})
        log = await alice.call("AuditService/ListEntries", {"kind": "refused", "pageSize": 1000})

    recorded = [base64.b64decode(one["json"]) for one in log.json["entries"]]
    told = [
        {key: json.loads(one).get(key) for key in ("method", "operator", "reason")}
        for one in recorded
    ]
    assert {
        "method": "/sidecar.api.v1.AuditService/ListEntries",
        "operator": "only-approve",
        "reason": "PERMISSION_MISSING",
    } in told
    assert {
        "method": "/sidecar.api.v1.ContainmentService/Contain",
        "operator": "alice",
        "reason": "MALFORMED",
    } in told


# -- ordering ---------------------------------------------------------------------------------------


def _order(agent: str, **more: Any) -> dict[str, Any]:
    return {
        "target": {"agent": agent},
        "level": "LEVEL_KILL",
        "reason": "a test ordered it",
        **more,
    }


async def test_i01_i02_one_key_is_one_order(bed: TwinBed) -> None:
    """In the header, in the body, over gRPC: the same order; with another body a conflict."""
    name, other, key = bed.fresh_agent(), bed.fresh_agent(), new_id()
    async with bed.json("alice") as web, bed.operator("alice") as rpc, bed.agent(name) as agent:
        first = await web.call("ContainmentService/Contain", _order(name), Idempotency_Key=key)
        again = await web.call("ContainmentService/Contain", _order(name, requestId=key))
        both = await web.call(
            "ContainmentService/Contain", _order(name, request_id=key), Idempotency_Key=key
        )
        over_grpc = await rpc.contain(name, request_id=key)
        differ = await web.call(
            "ContainmentService/Contain", _order(name, requestId=new_id()), Idempotency_Key=key
        )
        conflict = await web.call("ContainmentService/Contain", _order(other), Idempotency_Key=key)
        verdict = await agent.verdict()

    epoch = first.json["receipt"]["directive"]["epoch"]
    assert [one.json["receipt"]["directive"]["epoch"] for one in (again, both)] == [epoch, epoch]
    assert str(over_grpc.receipt.directive.epoch) == epoch
    assert (differ.status, differ.code) == (400, "invalid_argument")
    assert (conflict.status, conflict.code, conflict.reason) == (
        409,
        "already_exists",
        "REQUEST_ID_CONFLICT",
    )
    assert verdict == "DENY KILLED"


async def test_i01_an_order_that_was_given_up_on_is_carried_out_at_most_once(bed: TwinBed) -> None:
    """However early its caller gave up: the retry with its key gives the receipt of one directive."""
    async with bed.json("alice") as web:
        for milliseconds in (0, 1, 2, 3, 5, 8, 13, 21):
            name, key = bed.fresh_agent(), new_id()
            first = await web.call(
                "ContainmentService/Contain",
                _order(name, requestId=key),
                Connect_Timeout_Ms=str(milliseconds),
            )
            retried = await web.call("ContainmentService/Contain", _order(name, requestId=key))
            standing = await web.call(
                "ContainmentService/ListDirectives", {"agent": name, "includeEnded": True}
            )
            async with bed.agent(name) as agent:
                verdict = await agent.verdict()

            assert first.status in (200, 504)
            assert retried.status == 200
            epochs = [one["epoch"] for one in standing.json["directives"]]
            assert epochs == [retried.json["receipt"]["directive"]["epoch"]]
            assert verdict == "DENY KILLED"


async def _ask_release(web: TwinClient, epoch: str, key: str, **headers: str) -> Answer:
    return await web.call(
        "ContainmentService/Release",
        {"requestId": key, "epoch": epoch, "reason": "the test is over"},
        **headers,
    )


async def test_what_waits_for_a_human_is_202_until_it_is_granted(bed: TwinBed) -> None:
    """The answer leads to the operation, and the operation to its end."""
    name, key = bed.fresh_agent(), new_id()
    async with bed.json("alice") as web, bed.operator("only-approve") as human:
        kill = await web.call("ContainmentService/Contain", _order(name, requestId=new_id()))
        epoch = kill.json["receipt"]["directive"]["epoch"]
        asked = await _ask_release(web, epoch, key)
        place = asked.headers["Location"]
        waiting = await web.get(place)
        await human.decide(asked.json["operation"]["approval"])
        await web.call(
            "OperationService/GetOperation",
            {"name": asked.json["operation"]["name"], "wait": "20s"},
        )
        ended = await web.get(place)
        repeated = await _ask_release(web, epoch, key)

    assert (asked.status, asked.headers["Retry-After"]) == (202, "5")
    assert place == "/v1/" + asked.json["operation"]["name"]
    assert (waiting.status, waiting.json["state"]) == (202, "STATE_PENDING_APPROVAL")
    assert waiting.headers["Location"] == place
    assert (ended.status, ended.json["state"]) == (200, "STATE_DONE")
    assert "Location" not in ended.headers
    assert (repeated.status, repeated.json["directive"]["state"]) == (200, "STATE_RELEASED")


async def test_what_a_human_refuses_ends_and_is_not_done(bed: TwinBed) -> None:
    """200 says that it has ended; the state says how, and nothing was released."""
    name, key = bed.fresh_agent(), new_id()
    async with bed.json("alice") as web, bed.operator("only-approve") as human:
        kill = await web.call("ContainmentService/Contain", _order(name, requestId=new_id()))
        asked = await _ask_release(web, kill.json["receipt"]["directive"]["epoch"], key)
        await human.decide(asked.json["operation"]["approval"], "REFUSE")
        ended = await web.get(asked.headers["Location"])
        agent = await web.call("AgentService/GetAgent", {"agent": name})

    assert (ended.status, ended.json["state"]) == (200, "STATE_REFUSED")
    assert agent.json["agent"]["level"] == "LEVEL_KILL"


async def test_whoever_speaks_connect_gets_200_for_what_waits(bed: TwinBed) -> None:
    """Connect knows no other success; where to ask is told all the same."""
    name = bed.fresh_agent()
    async with bed.json("alice") as web:
        kill = await web.call("ContainmentService/Contain", _order(name, requestId=new_id()))
        epoch = kill.json["receipt"]["directive"]["epoch"]
        asked = await _ask_release(web, epoch, new_id(), Connect_Protocol_Version="1")
        other = await web.call("AgentService/ListAgents", Connect_Protocol_Version="2")

    assert (asked.status, asked.headers["Location"][:16]) == (200, "/v1/operations/a")
    assert other.status == 400


async def test_a_preview_waits_for_nobody(bed: TwinBed) -> None:
    """What would be held is told with 200: there is no operation that one could ask."""
    async with bed.json("alice") as web:
        answer = await web.call(
            "ContainmentService/Contain",
            {**_order("x", requestId=new_id()), "target": {"all": {}}, "validateOnly": True},
        )

    assert (answer.status, answer.json["operation"]["state"]) == (200, "STATE_PENDING_APPROVAL")
    assert "Location" not in answer.headers


async def test_operations_of_others_are_not_there(bed: TwinBed) -> None:
    """One that the caller may not see does not exist, whatever the address looks like."""
    async with bed.json("alice") as web, bed.json() as stranger:
        missing = await web.get("/v1/operations/apr_" + "0" * 32)
        odd = await web.get("/v1/operations/..%2f")
        unknown = await stranger.get("/v1/operations/apr_" + "0" * 32)

    assert (missing.status, odd.status, unknown.status) == (404, 404, 401)


# -- deadlines --------------------------------------------------------------------------------------


async def test_a_deadline_is_kept(bed: TwinBed) -> None:
    """Who waits less than an operation lasts is told so, and asks again."""
    name = bed.fresh_agent()
    async with bed.json("alice") as web:
        kill = await web.call("ContainmentService/Contain", _order(name, requestId=new_id()))
        asked = await _ask_release(web, kill.json["receipt"]["directive"]["epoch"], new_id())
        wanted = {"name": asked.json["operation"]["name"], "wait": "20s"}
        late = await web.call("OperationService/GetOperation", wanted, Connect_Timeout_Ms="200")
        wrong = await web.call("OperationService/GetOperation", wanted, Connect_Timeout_Ms="1.5")
        waited = await web.call("OperationService/GetOperation", {**wanted, "wait": "0.2s"})

    assert (late.status, late.code, late.reason) == (504, "deadline_exceeded", "DEADLINE")
    assert (wrong.status, waited.status) == (400, 202)


# -- documents --------------------------------------------------------------------------------------


def _schema(name: str) -> dict[str, Any]:
    """Return the schema of a message as a document of its own, closed to fields it does not name."""
    schemas = json.loads(json.dumps(DOCUMENT["components"]["schemas"]))
    for schema in schemas.values():
        if schema.get("type") == "object" and "properties" in schema:
            schema["additionalProperties"] = False
    return {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}


async def test_answers_are_what_the_document_says(bed: TwinBed) -> None:
    """Real answers of a live control validate against the schemas, closed to unknown fields."""
    name = bed.fresh_agent()
    async with bed.json("alice") as web, bed.json("carol") as carol, bed.agent(name) as agent:
        await agent.verdict()
        kill = await web.call("ContainmentService/Contain", _order(name, requestId=new_id()))
        epoch = kill.json["receipt"]["directive"]["epoch"]
        release = await _ask_release(web, epoch, new_id())
        approval = release.json["operation"]["approval"]
        answers = {
            "ContainResponse": kill,
            "ReleaseResponse": release,
            "Operation": await web.get(release.headers["Location"]),
            "RevokeTokensResponse": await web.call(
                "TokenService/RevokeTokens",
                {"requestId": new_id(), "agent": name, "reason": "a test"},
            ),
            "ListRevocationsResponse": await web.call("TokenService/ListRevocations"),
            "GetReceiptResponse": await web.call("ContainmentService/GetReceipt", {"epoch": epoch}),
            "ListDirectivesResponse": await web.call(
                "ContainmentService/ListDirectives", {"includeEnded": True}
            ),
            "VerifyContainmentResponse": await web.call(
                "ContainmentService/VerifyContainment", {"agent": name}
            ),
            "ListAgentsResponse": await web.call("AgentService/ListAgents"),
            "GetAgentResponse": await web.call("AgentService/GetAgent", {"agent": name}),
            "ListToolsResponse": await web.call("AgentService/ListTools"),
            "ListOperationsResponse": await web.call("OperationService/ListOperations"),
            "ListEntriesResponse": await web.call("AuditService/ListEntries"),
            "GetCheckpointResponse": await web.call("AuditService/GetCheckpoint"),
            "GetApprovalResponse": await carol.call(
                "ApprovalService/GetApproval", {"name": approval}
            ),
            "GetPolicySetResponse": await carol.call("PolicyService/GetPolicySet"),
            "ListApiTokensResponse": await carol.call("ApiTokenService/ListApiTokens"),
            "Error": await web.call("AgentService/GetAgent", {"agent": "nobody-knows"}),
            "Health": await web.get("/healthz"),
        }

    for schema, answer in answers.items():
        assert answer.status < 300 or schema == "Error", (schema, answer.text)
        validator = jsonschema_rs.validator_for(_schema(schema))
        assert [str(error) for error in validator.iter_errors(answer.json)] == [], schema


def test_the_schemas_do_refuse_negative_control() -> None:
    """A number where text is said, a field that there is not, a value that no enum has."""
    validator = jsonschema_rs.validator_for(_schema("ListDirectivesResponse"))

    assert validator.is_valid({"epoch": "3", "directives": [{"level": "LEVEL_KILL"}]})
    assert not validator.is_valid({"epoch": 3})
    assert not validator.is_valid({"epok": "3"})
    assert not validator.is_valid({"directives": [{"level": "KILL"}]})


@pytest.mark.parametrize("method", UNARY, ids=_path)
def test_every_method_is_in_both_documents(method: MethodDescriptor) -> None:
    """With who may call it, what it takes and what it gives."""
    options: Any = method.GetOptions().Extensions
    path = f"/sidecar.api.v1.{_path(method)}"
    swagger = json.loads(files("sidecar.jsonapi").joinpath("swagger.json").read_text())
    for document in (DOCUMENT, swagger):
        found = document["paths"][path]["post"]
        names = {parameter["name"] for parameter in found["parameters"]}
        assert found["operationId"] == method.name
        assert found["x-holdfast-permissions"] == list(options[options_pb2.permission])
        assert ("Idempotency-Key" in names) is bool(options[options_pb2.mutates])
        assert found["summary"]
        assert found["description"]
        assert {"200", "default"} <= set(found["responses"])
        assert ("202" in found["responses"]) is (
            "operation" in method.output_type.fields_by_name
            and method.output_type.fields_by_name["operation"].message_type
            is types_pb2.Operation.DESCRIPTOR
        )


def test_nothing_else_is_in_the_documents() -> None:
    """No stream, nothing of the gate, and each operation under a name of its own."""
    paths = DOCUMENT["paths"]
    calls = {path for path in paths if path.startswith("/sidecar.")}
    ids = [next(iter(item.values()))["operationId"] for item in paths.values()]

    assert calls == {f"/sidecar.api.v1.{_path(method)}" for method in UNARY}
    assert len(ids) == len(set(ids))


def _holes(value: Any, at: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, schema in value.get("properties", {}).items():
            if not schema.get("description"):
                yield f"{at}.{name}"
        for key, item in value.items():
            yield from _holes(item, f"{at}/{key}")


def test_every_field_is_described() -> None:
    """The protos' comments came along."""
    own = {"OpenC2Message"}
    schemas = {k: v for k, v in DOCUMENT["components"]["schemas"].items() if k not in own}

    assert list(_holes(schemas)) == []
    assert schemas["ContainRequest"]["required"] == ["target", "level", "reason"]
    assert schemas["ContainRequest"]["properties"]["reason"]["maxLength"] == 1000
    assert schemas["Target"]["maxProperties"] == 1
    assert "LEVEL_UNSPECIFIED" not in schemas["Level"]["enum"]


# -- OpenC2 -----------------------------------------------------------------------------------------


async def _openc2(web: TwinClient, action: str, target: str, value: Any, **more: Any) -> Answer:
    message = {
        "headers": {"request_id": new_id(), "created": 1_700_000_000_000, "from": "test"},
        "body": {"openc2": {"request": {"action": action, "target": {target: value}, **more}}},
    }
    return await web.send(
        "POST",
        "/.well-known/openc2",
        json.dumps(message),
        Content_Type="application/openc2+json;version=1.0",
    )


def _said(answer: Answer) -> Any:
    schema = json.loads(files("sidecar.jsonapi").joinpath("openc2.schema.json").read_text())
    jsonschema_rs.validate(schema, answer.json)
    assert answer.headers["Content-Type"] == "application/openc2+json;version=1.0"
    return answer.json["body"]["openc2"]["response"]


async def test_openc2_stop_to_restore(bed: TwinBed) -> None:
    """A kill, its repetition, a conflict, and a restore that waits for a human, then is done."""
    name, other, key = bed.fresh_agent(), bed.fresh_agent(), new_id()
    async with (
        bed.json("alice") as web,
        bed.operator("only-approve") as human,
        bed.agent(name) as agent,
    ):
        features = _said(await _openc2(web, "query", "features", ["pairs"]))
        kill = _said(
            await _openc2(web, "stop", "x-holdfast:agent", {"agent": name}, command_id=key)
        )
        again = _said(
            await _openc2(web, "stop", "x-holdfast:agent", {"agent": name}, command_id=key)
        )
        conflict = _said(
            await _openc2(web, "stop", "x-holdfast:agent", {"agent": other}, command_id=key)
        )
        verdict = await agent.verdict()
        wanted = {"command_id": new_id()}
        asked = _said(await _openc2(web, "restore", "x-holdfast:agent", {"agent": name}, **wanted))
        (release,) = asked["results"]["x-holdfast"]["releases"]
        await human.decide(release["operation"]["approval"])
        await human.operation(release["operation"]["name"], wait_s=10)
        done = _said(await _openc2(web, "restore", "x-holdfast:agent", {"agent": name}, **wanted))
        after = await agent.verdict()

    assert "stop" in features["results"]["pairs"]
    assert (kill["status"], again["status"], verdict) == (200, 200, "DENY KILLED")
    epochs = {
        one["results"]["x-holdfast"]["receipt"]["directive"]["epoch"] for one in (kill, again)
    }
    assert len(epochs) == 1
    assert (conflict["status"], asked["status"], done["status"]) == (400, 102, 200)
    assert after == "ALLOW POLICY_ALLOW"


async def test_openc2_blocks_and_asks_to_unblock_a_destination(bed: TwinBed) -> None:
    """``deny`` holds at once for who may break glass; for others, and ``allow``, a human is asked."""
    host = f"h-{new_id()[:8]}.example"
    async with bed.json("dora") as web, bed.json("alice") as alice:
        denied = _said(await _openc2(web, "deny", "domain_name", host, command_id=new_id()))
        allowed = _said(
            await _openc2(web, "allow", "uri", f"https://{host}/x", command_id=new_id())
        )
        unknown = _said(await _openc2(web, "allow", "domain_name", "x" + host, command_id=new_id()))
        wide = _said(await _openc2(alice, "deny", "domain_name", host, command_id=new_id()))

    directive = denied["results"]["x-holdfast"]["receipt"]["directive"]
    assert (directive["target"], directive["level"]) == ({"destination": host}, "LEVEL_FREEZE")
    assert [one["status"] for one in (allowed, unknown, wide)] == [102, 404, 102]
    assert wide["results"]["x-holdfast"]["operation"]["state"] == "STATE_PENDING_APPROVAL"


async def test_openc2_has_the_permissions_of_its_caller(bed: TwinBed) -> None:
    """What the methods refuse is refused here, and strangers are not even read."""
    async with bed.json("only-audit-read") as reader, bed.json() as stranger:
        wanted = ("stop", "x-holdfast:agent", {"agent": "alpha"})
        refused_ = await _openc2(reader, *wanted, command_id=new_id())
        unknown = await _openc2(stranger, *wanted, command_id=new_id())
        query = await _openc2(stranger, "query", "features", [])

    assert (refused_.status, _said(refused_)["status"]) == (403, 403)
    assert (unknown.status, _said(unknown)["status"]) == (401, 401)
    assert query.status == 401


async def test_openc2_of_another_media_type_is_not_read(bed: TwinBed) -> None:
    """JSON alone is not OpenC2, and another version neither."""
    async with bed.json("alice") as web:
        answers = [
            await web.send("POST", "/.well-known/openc2", "{}", Content_Type=media_type)
            for media_type in ("application/json", "application/openc2+json;version=2.0")
        ]

    assert [one.status for one in answers] == [415, 415]


async def test_a_control_that_is_asked_in_dev_serves_https_alone(
    make_bed: Callable[..., Any],
) -> None:
    """With development certificates the port speaks TLS, too."""
    bed = make_bed()
    from tests.support.processes import free_port

    port = free_port()
    bed.launch_control(is_dev=True, api_listen=f"127.0.0.1:{port}")
    bed.wait_control()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    said = await asyncio.wait_for(reader.read(64), 10)
    writer.close()

    assert not said.startswith(b"HTTP/")
