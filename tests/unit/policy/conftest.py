# SPDX-License-Identifier: Apache-2.0
"""A small bank to try policies on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sidecar.policy.bundle import Bundle, load_bundle_from_files
from sidecar.policy.engine import PolicyEngine

TOOLS = """\
version: 1
tools:
  send_money:
    class: write
    data_class: financial
    arguments:
      type: object
      properties:
        recipient: {type: string}
        amount: {type: number}
        count: {type: integer}
        urgent: {type: boolean}
        tags: {type: array, items: {type: string}}
        memo: {type: [string, "null"]}
        place:
          type: object
          properties: {city: {type: string}, zip: {type: integer}}
          required: [city]
      required: [recipient, amount]
    reveal: [recipient]
  files.read:
    class: read
    arguments:
      type: object
      properties: {path: {type: string}}
      required: [path]
  fetch:
    class: external
    arguments:
      type: object
      properties: {url: {type: string}, depth: {type: integer}}
      required: [url]
    destination: {argument: url}
  ping:
    class: read
"""
AGENTS = """\
version: 1
agents:
  banking:
    owner: emma@example.com
    groups: [finance, staff]
    labels: {env: demo}
    facts: {payees: [acme, bob], limit: 100}
  intern:
    owner: carl@example.com
    groups: [staff]
    facts: {payees: [], limit: 1, trial: true}
"""
OPERATORS = """\
version: 1
operators:
  alice:
    kind: human
    identity: spiffe://holdfast.dev/operator/alice
    roles: [contain, release, approve]
  soar: {kind: automation, identity: "spiffe://holdfast.dev/operator/soar", roles: [contain]}
"""

Files = dict[str, bytes]
MakeFiles = Callable[..., Files]
MakeBundle = Callable[..., Bundle]
MakeEngine = Callable[..., PolicyEngine]


def _files(policies: str = "", /, **others: str) -> Files:
    """Return a bundle's files; ``tools_yaml="…"`` replaces or adds ``tools.yaml``."""
    texts: Mapping[str, str] = {
        "tools.yaml": TOOLS,
        "agents.yaml": AGENTS,
        "operators.yaml": OPERATORS,
        "policies/main.cedar": policies,
        **{
            name.replace("tests_", "tests/").removesuffix("_yaml") + ".yaml": text
            for name, text in others.items()
        },
    }
    return {path: text.encode() for path, text in texts.items()}


@pytest.fixture(scope="session")
def files() -> MakeFiles:
    """Make the files of a bundle with these policies."""
    return _files


@pytest.fixture(scope="session")
def bundle() -> MakeBundle:
    """Make a bundle with these policies."""
    return lambda *args, **kwargs: load_bundle_from_files(_files(*args, **kwargs))


@pytest.fixture(scope="session")
def engine() -> MakeEngine:
    """Make an engine with these policies."""
    return lambda *args, **kwargs: PolicyEngine(load_bundle_from_files(_files(*args, **kwargs)))


@pytest.fixture
def directory(tmp_path: Path) -> Callable[[Mapping[str, bytes]], Path]:
    """Write files as a bundle directory."""

    def write(contents: Mapping[str, bytes]) -> Path:
        root = tmp_path / "bundle"
        for path, data in contents.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        return root

    return write
