# SPDX-License-Identifier: Apache-2.0
"""What of the pack is generated: the integration's declaration, its reference page, the playbooks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from soar_actions.catalogue import ACTIONS
from soar_actions.packages.docs import document
from soar_actions.platforms.xsoar import WAIVERS
from soar_actions.platforms.xsoar.flow import playbook
from soar_actions.platforms.xsoar.integration import FROM_VERSION, integration
from soar_actions.platforms.xsoar.naming import command_of
from soar_actions.platforms.xsoar.pages import command_examples, integration_page, playbook_page
from soar_actions.platforms.xsoar.playbooks import PLAYBOOKS
from soar_actions.platforms.xsoar.yaml_text import yaml_text

__all__ = ["generated"]

_PACK: Final = "artefact/Packs/Holdfast"


def generated() -> Mapping[str, str]:
    """Return text by path below the platform's folder."""
    declared = integration()
    at = f"{_PACK}/Integrations/Holdfast"
    head = (Path(__file__).parent / "head.md").read_text(encoding="utf-8")
    names = {slug: command_of(slug) for slug in ACTIONS if slug not in WAIVERS}
    files = {
        "README.md": document(head, platform_names=names, waivers=WAIVERS),
        f"{at}/Holdfast.yml": yaml_text(declared),
        f"{at}/README.md": integration_page(declared),
        f"{at}/command_examples": command_examples(),
    }
    for definition in PLAYBOOKS:
        made = playbook(definition, from_version=FROM_VERSION)
        stem = f"{_PACK}/Playbooks/playbook-{definition.name.replace(' ', '_')}"
        files[f"{stem}.yml"] = yaml_text(made)
        files[f"{stem}_README.md"] = playbook_page(made)
    return files
