# SPDX-License-Identifier: Apache-2.0
"""The Splunk SOAR app in the SDK's own hands: manifest, package, leaks, idempotency keys."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from soar_actions.catalogue import ACTIONS
from soar_actions.platforms.splunk_soar import WAIVERS, build
from soar_actions.platforms.splunk_soar.render import action_type
from tests.soar.runners.splunk_soar import RUNNERS, SplunkRunner, app_project
from tests.soar.venvs import python_of

SDKS = [runner for runner in RUNNERS if isinstance(runner, SplunkRunner)]
_CANARY = "hfat_aaaabbbbcccc_CANARY0123456789"
_GOOD = {"endpoint": "https://127.0.0.1:1", "api_token": _CANARY, "timeout_seconds": "1"}
_READ_MANIFEST = """
import json, sys
sys.path.insert(0, sys.argv[1])
from src.app import app
actions = app.actions_manager.get_actions_meta_list()
dump = lambda meta: (getattr(meta, "model_dump", None) or meta.dict)()
print(json.dumps({"actions": [dump(meta) for meta in actions],
                  "configuration": app.asset_cls.to_json_schema()}, default=str))
"""


@pytest.fixture(params=SDKS, ids=lambda sdk: sdk.venv)
def sdk(request: pytest.FixtureRequest) -> SplunkRunner:
    """One SDK; not run where it cannot be had."""
    found: SplunkRunner = request.param
    if found.unavailable():
        pytest.skip(f"not run: {found.unavailable()}")
    return found


def manifest(sdk: SplunkRunner) -> dict[str, Any]:
    """Return what the SDK makes the manifest's actions and configuration of."""
    done = subprocess.run(
        [str(python_of(sdk.venv)), "-P", "-c", _READ_MANIFEST, str(app_project())],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    content: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return content


def test_sdk_sees_every_action_as_the_catalogue_declares_it(sdk: SplunkRunner) -> None:
    """Names, types, read-only, required parameters and choices, outputs."""
    content = manifest(sdk)
    actions = {each["identifier"]: each for each in content["actions"]}

    assert set(actions) == {
        "on_poll",
        *(action.identifier for slug, action in ACTIONS.items() if slug not in WAIVERS),
    }
    for slug, action in ACTIONS.items():
        seen = actions[action.identifier]
        if slug == "test-connectivity":
            assert seen["type"] == "test"
            continue
        assert (seen["type"], seen["read_only"]) == (action_type(action), action.is_read_only)
        for parameter in action.parameters:
            described = seen["parameters"][parameter.name]
            assert described["required"] is parameter.is_required
            assert described.get("value_list", []) == list(parameter.choices)
            assert described.get("contains", []) == [parameter.contains][: bool(parameter.contains)]
        paths = {each["data_path"] for each in seen["output"]}
        assert {
            "action_result.data.*.status",
            "action_result.data.*.error.class",
            "action_result.summary.operation_state",
        } <= paths
        for output in action.outputs:
            if output.type.value != "object":
                path = output.path.replace("[]", ".*")
                assert f"action_result.data.*.{path}" in paths, output.path


def test_sdk_keeps_credentials_as_passwords(sdk: SplunkRunner) -> None:
    """And there is no setting that weakens TLS."""
    settings = manifest(sdk)["configuration"]

    secret = {name for name, each in settings.items() if each["data_type"] == "password"}
    assert secret == {"api_token", "client_key", "proxy"}
    assert settings["endpoint"]["required"] is True
    assert not [name for name in settings if "verify" in name or "insecure" in name]


@pytest.mark.parametrize(
    "asset",
    [
        {"api_token": _CANARY},
        {**_GOOD, "endpoint": "http://127.0.0.1:1"},
        {**_GOOD, "endpoint": f"https://{_CANARY}@127.0.0.1:1"},
        {**_GOOD, "timeout_seconds": "soon"},
        {**_GOOD, "timeout_seconds": 99},
        {**_GOOD, "client_key": _CANARY},
        {**_GOOD, "client_certificate": _CANARY, "client_key": _CANARY},
        {**_GOOD, "proxy": f"user-{_CANARY}@proxy"},
        {**_GOOD, "ca_certificate": "-----BEGIN CERTIFICATE-----AAAA-----END CERTIFICATE-----"},
    ],
    ids=[
        "no endpoint",
        "plain http",
        "credential in the endpoint",
        "timeout of words",
        "timeout too long",
        "key alone",
        "key that is none",
        "proxy that is none",
        "CA that is none",
    ],
)
def test_i06_wrong_asset_is_refused_without_showing_it(
    sdk: SplunkRunner, asset: dict[str, Any]
) -> None:
    """pydantic quotes what it refuses; the app never lets it see a setting it would refuse."""
    answers = [
        sdk.handle("test-connectivity", {}, asset=asset, key="run-0001"),
        sdk.handle("get-agent", {"agent": "banking"}, asset=asset, key="run-0001"),
    ]

    for answer in answers:
        outcome = sdk.outcome(answer)
        assert answer["crash"] == ""
        assert outcome.status == "FAILED"
        assert outcome.error_class == "BAD_INPUT"
        assert "CANARY" not in outcome.native


def test_i06_negative_control_the_search_finds_a_canary(sdk: SplunkRunner) -> None:
    """What a playbook itself gives is in the result, so a leak would be seen."""
    answer = sdk.handle("get-agent", {"agent": _CANARY}, asset=_GOOD, key="run-0001")

    assert "CANARY" in sdk.outcome(answer).native


@pytest.mark.parametrize(
    "parameters",
    [
        {"agent": "*"},
        {"agent": ["a", "b"]},
        {"agent": {"id": "a"}},
        {"agent": "banking", "levl": "KILL"},
        {},
        {"agent": None},
        {"agent": 4711.5},
    ],
    ids=["wildcard", "list", "object", "misspelt name", "nothing", "null", "fraction"],
)
def test_i07_wrong_parameters_are_a_result(sdk: SplunkRunner, parameters: dict[str, Any]) -> None:
    """The SDK drops an action whose parameters pydantic refuses; ours is refused with a reason."""
    answer = sdk.handle("contain-agent", parameters, asset=_GOOD, key="run-0001")

    assert len(answer["results"]) == 1
    assert sdk.outcome(answer).error_class == "BAD_INPUT"


def test_i01_key_is_of_the_run_the_action_and_the_parameters(sdk: SplunkRunner) -> None:
    """The same of all three is the same key; another of one is another."""

    def key(run: str, slug: str, **parameters: str) -> str:
        asset = {"endpoint": "none", "api_token": _CANARY}
        answer = sdk.handle(slug, parameters, asset=asset, key=run)
        return str(answer["results"][0]["data"][0]["idempotency_key"])

    first = key("run-1", "contain-agent", agent="banking")
    same = key("run-1", "contain-agent", agent="banking")
    others = [
        key("run-2", "contain-agent", agent="banking"),
        key("run-1", "contain-agent", agent="travel"),
        key("run-1", "release-agent", agent="banking"),
    ]

    assert first == same
    assert len({first, *others}) == 4


def test_package_is_built_by_the_sdk(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """``soarapps package build`` makes the archive; its manifest is the catalogue's."""
    if build.sdk_python() is None:
        pytest.skip("not run: there is no Python with splunk-soar-sdk 7")
    made = build.build(tmp_path)
    said = capfd.readouterr().err
    archive = tmp_path / f"holdfast-splunk_soar-{build.VERSION}.tgz"
    if archive not in made:
        pytest.skip(f"not run: {said.strip()}")
    with tarfile.open(archive) as tar:
        names = set(tar.getnames())
        content = tar.extractfile("holdfast/manifest.json")
        assert content is not None
        described = json.load(content)

    assert len(described["actions"]) == len(ACTIONS) - len(WAIVERS) + 1
    assert described["main_module"] == "src.app:app"
    assert described["python_version"] == "3.13"
    assert described["license"] == "Apache-2.0"
    assert {"holdfast/logo.svg", "holdfast/LICENSE", "holdfast/src/app.py"} <= names
    wheels = [each["input_file"] for each in described["pip313_dependencies"]["wheel"]]
    assert {f"holdfast/{wheel}" for wheel in wheels} <= names
    assert any("splunk_soar_sdk-" in wheel for wheel in wheels)
