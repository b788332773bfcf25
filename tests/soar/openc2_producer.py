# SPDX-License-Identifier: Apache-2.0
"""Runs in the environment ``openc2``: sends commands with otupy's own producer, prints what came back.

The messages, their encoding and their transfer are otupy's. Only two things are added where it calls
``requests``: its transfer can neither check a certificate nor show a credential.

Reads ``{"host", "port", "ca", "token", "commands": [{"action", "target", "value", "args"?, "id"?}]}``
from standard input; writes one JSON object per command.
"""

from __future__ import annotations

import functools
import json
import sys
import warnings
from typing import Any, ClassVar

warnings.simplefilter("ignore")

import otupy as oc2  # noqa: E402 - its imports warn
import requests  # noqa: E402
from otupy.encoders.json import JSONEncoder  # noqa: E402
from otupy.transfers.http import HTTPSTransfer  # noqa: E402

NSID = "x-holdfast"


@oc2.extension(nsid=NSID)
class Profile(oc2.Profile):  # type: ignore[misc]
    """The actuator profile."""

    nsid = NSID
    name = "holdfast"


@oc2.target(name="agent", nsid=NSID)
class Agent(oc2.Map):  # type: ignore[misc]
    """An agent."""

    fieldtypes: ClassVar[dict[str, Any]] = {"agent": str}


@oc2.target(name="directive", nsid=NSID)
class Directive(oc2.Map):  # type: ignore[misc]
    """A directive."""

    fieldtypes: ClassVar[dict[str, Any]] = {"epoch": int}


@oc2.target(name="session", nsid=NSID)
class Session(oc2.Map):  # type: ignore[misc]
    """A session of an agent."""

    fieldtypes: ClassVar[dict[str, Any]] = {"agent": str, "session": str}


@oc2.target(name="tool", nsid=NSID)
class Tool(oc2.Map):  # type: ignore[misc]
    """A tool, at one agent or at all."""

    fieldtypes: ClassVar[dict[str, Any]] = {"tool": str, "agent": str}


@oc2.target(name="token", nsid=NSID)
class Token(oc2.Map):  # type: ignore[misc]
    """Tokens that agents carry."""

    fieldtypes: ClassVar[dict[str, Any]] = {"jti": str, "issuer": str, "agent": str, "session": str}


@oc2.extension(nsid=NSID)
class Args(oc2.Args):  # type: ignore[misc]
    """The profile's own arguments."""

    fieldtypes: ClassVar[dict[str, Any]] = {"reason": str, "level": str}


@oc2.extension(nsid=NSID)
class Results(oc2.Results):  # type: ignore[misc]
    """The profile's own results."""

    fieldtypes: ClassVar[dict[str, Any]] = {
        "receipt": dict,
        "operation": dict,
        "agents": oc2.ArrayOf(str),
        "agent": dict,
        "releases": oc2.ArrayOf(dict),
        "revocation": dict,
        "laggards": oc2.ArrayOf(str),
        "repeatedRequest": bool,
    }


@oc2.actuator(nsid=NSID)
class Holdfast(oc2.Map):  # type: ignore[misc]
    """The actuator's specifiers: there are none."""

    fieldtypes: ClassVar[dict[str, Any]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.nsid = NSID
        super().__init__(*args, **kwargs)


_TARGETS = {
    "features": lambda value: oc2.Features([oc2.Feature[name] for name in value]),
    "domain_name": oc2.DomainName,
    "ipv4_net": oc2.IPv4Net,
    "uri": oc2.URI,
    "x-holdfast:agent": Agent,
    "x-holdfast:directive": Directive,
    "x-holdfast:session": Session,
    "x-holdfast:tool": Tool,
    "x-holdfast:token": Token,
    "file": lambda value: oc2.File({"name": value}),
}


def main() -> None:
    """Send every command, one after the other."""
    order = json.load(sys.stdin)
    plain = requests.post

    @functools.wraps(plain)
    def post(url: str, **options: Any) -> Any:
        options["verify"] = order["ca"]
        options["headers"]["Authorization"] = f"Bearer {order['token']}"
        return plain(url, **options)

    requests.post = post
    producer = oc2.Producer(
        "soar.example", JSONEncoder(), HTTPSTransfer(order["host"], order["port"])
    )
    for asked in order["commands"]:
        command = oc2.Command(
            oc2.Actions[asked["action"]],
            _TARGETS[asked["target"]](asked["value"]),
            Args(asked["args"]) if "args" in asked else None,
            actuator=Holdfast({}),
        )
        if "id" in asked:
            command.command_id = asked["id"]
        answer = producer.sendcmd(command)
        response = answer.content
        print(
            json.dumps(
                {
                    "type": type(response).__name__,
                    "status": int(response["status"].value),
                    "text": response.get("status_text", ""),
                    "results": json.loads(JSONEncoder.encode(response["results"]))
                    if "results" in response
                    else {},
                    "from": str(answer.from_),
                    "request_id": answer.request_id,
                }
            )
        )


if __name__ == "__main__":
    main()
