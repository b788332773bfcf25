# SPDX-License-Identifier: Apache-2.0
"""Every action, declared once: what a platform's manifest, docs and tests are made from."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from soar_actions.catalogue.action import Action
from soar_actions.catalogue.block_destination import BLOCK_DESTINATION
from soar_actions.catalogue.block_tool import BLOCK_TOOL
from soar_actions.catalogue.contain_agent import CONTAIN_AGENT
from soar_actions.catalogue.contain_agents import CONTAIN_AGENTS
from soar_actions.catalogue.contain_session import CONTAIN_SESSION
from soar_actions.catalogue.export_evidence import EXPORT_EVIDENCE
from soar_actions.catalogue.get_agent import GET_AGENT
from soar_actions.catalogue.get_agent_timeline import GET_AGENT_TIMELINE
from soar_actions.catalogue.get_approval import GET_APPROVAL
from soar_actions.catalogue.get_blast_radius import GET_BLAST_RADIUS
from soar_actions.catalogue.get_incident import GET_INCIDENT
from soar_actions.catalogue.get_operation import GET_OPERATION
from soar_actions.catalogue.get_receipt import GET_RECEIPT
from soar_actions.catalogue.list_agents import LIST_AGENTS
from soar_actions.catalogue.list_approvals import LIST_APPROVALS
from soar_actions.catalogue.list_directives import LIST_DIRECTIVES
from soar_actions.catalogue.list_revocations import LIST_REVOCATIONS
from soar_actions.catalogue.open_incident import OPEN_INCIDENT
from soar_actions.catalogue.release_agent import RELEASE_AGENT
from soar_actions.catalogue.request_approval import REQUEST_APPROVAL
from soar_actions.catalogue.revoke_tokens import REVOKE_TOKENS
from soar_actions.catalogue.search_audit import SEARCH_AUDIT
from soar_actions.catalogue.test_connectivity import TEST_CONNECTIVITY
from soar_actions.catalogue.unblock_destination import UNBLOCK_DESTINATION
from soar_actions.catalogue.unblock_tool import UNBLOCK_TOOL
from soar_actions.catalogue.update_incident import UPDATE_INCIDENT
from soar_actions.catalogue.verify_audit_log import VERIFY_AUDIT_LOG
from soar_actions.catalogue.verify_containment import VERIFY_CONTAINMENT

__all__ = ["ACTIONS", "Action"]

ACTIONS: Final[Mapping[str, Action]] = MappingProxyType(
    {
        action.slug: action
        for action in (
            TEST_CONNECTIVITY,
            LIST_AGENTS,
            GET_AGENT,
            CONTAIN_AGENT,
            CONTAIN_AGENTS,
            RELEASE_AGENT,
            CONTAIN_SESSION,
            BLOCK_TOOL,
            UNBLOCK_TOOL,
            BLOCK_DESTINATION,
            UNBLOCK_DESTINATION,
            REVOKE_TOKENS,
            LIST_REVOCATIONS,
            LIST_DIRECTIVES,
            GET_RECEIPT,
            VERIFY_CONTAINMENT,
            GET_AGENT_TIMELINE,
            GET_BLAST_RADIUS,
            LIST_APPROVALS,
            GET_APPROVAL,
            REQUEST_APPROVAL,
            GET_OPERATION,
            SEARCH_AUDIT,
            VERIFY_AUDIT_LOG,
            EXPORT_EVIDENCE,
            OPEN_INCIDENT,
            GET_INCIDENT,
            UPDATE_INCIDENT,
        )
    }
)
"""Actions by slug (``contain-agent``), in the order in which people read about them."""
