# SPDX-License-Identifier: Apache-2.0
"""Plays a Shuffle workflow: the real SDK decides every branch, we only say which node is next.

Shuffle's workers are Go and need Docker; they are not run here. What they leave to the SDK is real:
it resolves ``$node.field``, checks a node's branch conditions, and runs the action or skips it. Ours
are the order of the nodes, the answers of people at a User Input (a "no" ends the run), and the
action ``repeat_back_to_me`` of Shuffle Tools.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.soar.runners.base import Asset
from tests.soar.runners.shuffle import ShuffleRunner, node, workflow_run

__all__ = ["Played", "play"]


@dataclass
class Played:
    """What came of a run.

    Attributes:
        results: What each node gave, by label, of those that ran.
        skipped: Labels of the nodes whose branches did not lead there.
        asked: Questions that people were asked, by label.
        native: Everything that the platform printed or stored, without the authentication.
    """

    results: dict[str, Any] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    asked: dict[str, str] = field(default_factory=dict)
    native: str = ""

    @property
    def ran(self) -> list[str]:
        """Labels of the nodes that ran, in order."""
        return list(self.results)

    def told(self) -> str:
        """Return what the ``tell_…`` nodes said."""
        return "\n".join(str(text) for label, text in self.results.items() if "tell_" in label)


def play(
    workflow: Mapping[str, Any],
    argument: Mapping[str, str],
    *,
    runner: ShuffleRunner,
    asset: Asset,
    answer: Callable[[str], bool],
) -> Played:
    """Play *workflow* with *argument*.

    Args:
        workflow: As exported.
        argument: The execution argument.
        runner: The SDK.
        asset: The authentication, which the backend adds to every action of the app.
        answer: What people press at the User Input of this label; they may do something first.
    """
    played = Played()
    triggers = {each["id"] for each in workflow["triggers"]}
    nodes = {each["id"]: each for each in (*workflow["actions"], *workflow["triggers"])}
    run = workflow_run(
        str(uuid.uuid4()),
        start=workflow["start"],
        execution_argument=json.dumps(dict(argument)),
        workflow={
            **workflow_run("")["workflow"],
            "actions": workflow["actions"],
            "triggers": workflow["triggers"],
            "branches": workflow["branches"],
        },
    )
    for node_id in _in_order(workflow):
        label = nodes[node_id]["label"]
        if node_id in triggers:
            question = {each["name"]: each["value"] for each in nodes[node_id]["parameters"]}
            action = _action(nodes[node_id], {"call": question["alertinfo"]}, "repeat_back_to_me")
        else:
            given = {each["name"]: each["value"] for each in nodes[node_id]["parameters"]}
            secret = asdict(asset) if nodes[node_id]["app_name"] == "holdfast" else {}
            action = _action(nodes[node_id], {**secret, **given}, nodes[node_id]["name"])
        outcome = runner.execute(action, run)
        played.native += runner.outcome(outcome).native
        assert len(outcome["sent"]) == 1, outcome
        sent = outcome["sent"][0]
        assert sent["status"] in ("SUCCESS", "SKIPPED"), sent
        kept = {
            "action": {"id": node_id, "label": label, "name": action["name"]},
            "status": sent["status"],
            "result": sent["result"],
        }
        if sent["status"] == "SKIPPED":
            played.skipped.append(label)
        elif node_id in triggers:
            played.asked[label] = sent["result"]
            played.results[label] = "answered"
            if not answer(label):
                return played
            kept["result"] = json.dumps({"success": True})
        else:
            played.results[label] = _parsed(sent["result"])
        run["results"].append(kept)
    return played


def _action(described: Mapping[str, Any], values: Mapping[str, str], name: str) -> dict[str, Any]:
    return node(name, values, node_id=described["id"], label=described["label"])


def _in_order(workflow: Mapping[str, Any]) -> list[str]:
    """Return the nodes so that each comes after those that lead to it.

    Raises:
        AssertionError: The branches go in a circle.
    """
    nodes = [each["id"] for each in (*workflow["actions"], *workflow["triggers"])]
    before = {each: set[str]() for each in nodes}
    for branch in workflow["branches"]:
        before[branch["destination_id"]].add(branch["source_id"])
    order: list[str] = []
    while len(order) < len(nodes):
        ready = [each for each in nodes if each not in order and before[each] <= set(order)]
        assert ready, "the branches go in a circle"
        order += ready
    return order


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
