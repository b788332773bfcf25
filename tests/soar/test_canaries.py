# SPDX-License-Identifier: Apache-2.0
"""I06 on every platform: what an administrator types in as a secret is seen nowhere else.

Every cell of the matrix searches for secrets too (``scenarios.Cell.leaks``); here are the ways in which
an asset itself is wrong, because error texts like to quote what they choke on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.soar.runners import all_runners
from tests.soar.runners.base import Asset, Runner
from tests.soar.scenarios import Cell, Rig, contain_parameters

RUNNERS = all_runners()
PLATFORMS = Path(__file__).resolve().parents[2] / "soar_actions" / "platforms"
WRONG: Mapping[str, Callable[[Asset], Asset]] = {
    "token in the address": lambda asset: replace(
        asset, endpoint=asset.endpoint.replace("https://", f"https://{asset.api_token}@")
    ),
    "token in the query": lambda asset: replace(
        asset, endpoint=f"{asset.endpoint}/?token={asset.api_token}"
    ),
    "a CA that is none": lambda asset: replace(asset, ca_certificate="no certificate at all"),
    "a token that is nobody's": lambda asset: replace(
        asset, api_token=asset.api_token[:-3] + "AAA"
    ),
}


def _available(runner: Runner, available: Mapping[str, str]) -> None:
    if available[runner.runner]:
        pytest.skip(f"not run: {available[runner.runner]}")


@pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.runner)
def test_i06_asset_that_is_wrong_is_not_quoted(
    runner: Runner, available: dict[str, str], rig: Rig
) -> None:
    """It fails, and neither the token nor a part of it is in what the platform prints or keeps."""
    _available(runner, available)
    cell = Cell(rig, runner)
    agent = rig.main.fresh_agent()

    statuses = {
        name: cell.contain(agent, asset=spoil(cell.asset())).status for name, spoil in WRONG.items()
    }

    assert set(statuses.values()) == {"FAILED"}, statuses
    assert cell.leaks() == []
    assert rig.main.verdict(agent) == "ALLOW POLICY_ALLOW"


@pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.runner)
def test_i06_private_key_stays_where_it_is(
    runner: Runner, available: dict[str, str], rig: Rig
) -> None:
    """With a client certificate in place of a token: what works does not print the key either."""
    _available(runner, available)
    if runner.platform == "http":
        pytest.skip("not run: the document describes tokens alone")
    cell = Cell(rig, runner)
    asset = rig.main.certificate_asset()
    if getattr(runner, "is_grpc", False):
        asset = replace(asset, endpoint=f"https://{rig.main.listen}")
    spoilt = replace(asset, client_key=asset.client_key[: len(asset.client_key) // 2])

    good = cell.run("get-agent", {"agent": "alpha"}, asset=asset)
    bad = cell.run("get-agent", {"agent": "alpha"}, asset=spoilt)

    assert (good.status, bad.status) == ("SUCCESS", "FAILED"), (good, bad)
    assert cell.leaks() == []


def test_i06_secret_that_is_printed_is_found_negative_control(rig: Rig) -> None:
    """The search of every cell finds a token, a part of it, and a line of a key."""

    class Talkative:
        platform, runner, is_stand_in = "none", "none", True

        def run(self, slug: str, parameters: Mapping[str, str], **more: object) -> object:
            from tests.soar.runners.base import Outcome

            asset = more["asset"]
            assert isinstance(asset, Asset)
            key = asset.client_key.splitlines()[1:2]
            shown = asset.api_token[-43:] if asset.api_token else "".join(key)
            return Outcome("FAILED", native=f"could not use {shown}")

    found = []
    for asset in (rig.main.asset(), rig.main.certificate_asset()):
        cell = Cell(rig, Talkative())  # type: ignore[arg-type]
        cell.run("contain-agent", contain_parameters("alpha"), asset=asset)
        found.append(cell.leaks())

    assert found == [["the secret part of the API token"], ["the private key"]]


def test_i05_no_package_can_be_told_not_to_verify() -> None:
    """Nothing that ships switches TLS verification off, and nothing offers to."""
    off = re.compile(
        r"verify\s*=\s*False|CERT_NONE|check_hostname\s*=\s*False|_create_unverified_context"
        r"|verify_mode\s*=\s*0|disable_warnings|InsecureRequestWarning"
    )
    places = [
        f"{path.relative_to(PLATFORMS)}: {found[0]}"
        for path in PLATFORMS.rglob("*")
        if path.is_file() and path.suffix in (".py", ".yml", ".yaml", ".json", ".toml", ".txt")
        for found in [off.search(path.read_text(encoding="utf-8", errors="replace"))]
        if found
    ]

    assert places == []
