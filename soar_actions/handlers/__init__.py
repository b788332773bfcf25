# SPDX-License-Identifier: Apache-2.0
"""One generator per action: checked parameters in, calls out, a ``Result`` at the end."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from soar_actions.handlers.block_destination import block_destination
from soar_actions.handlers.block_tool import block_tool
from soar_actions.handlers.contain_agent import contain_agent
from soar_actions.handlers.contain_agents import contain_agents
from soar_actions.handlers.contain_session import contain_session
from soar_actions.handlers.export_evidence import export_evidence
from soar_actions.handlers.get_agent import get_agent
from soar_actions.handlers.get_agent_timeline import get_agent_timeline
from soar_actions.handlers.get_approval import get_approval
from soar_actions.handlers.get_blast_radius import get_blast_radius
from soar_actions.handlers.get_incident import get_incident
from soar_actions.handlers.get_operation import get_operation
from soar_actions.handlers.get_receipt import get_receipt
from soar_actions.handlers.list_agents import list_agents
from soar_actions.handlers.list_approvals import list_approvals
from soar_actions.handlers.list_directives import list_directives
from soar_actions.handlers.list_revocations import list_revocations
from soar_actions.handlers.open_incident import open_incident
from soar_actions.handlers.release_agent import release_agent
from soar_actions.handlers.request_approval import request_approval
from soar_actions.handlers.revoke_tokens import revoke_tokens
from soar_actions.handlers.search_audit import search_audit
from soar_actions.handlers.test_connectivity import test_connectivity
from soar_actions.handlers.unblock_destination import unblock_destination
from soar_actions.handlers.unblock_tool import unblock_tool
from soar_actions.handlers.update_incident import update_incident
from soar_actions.handlers.verify_audit_log import verify_audit_log
from soar_actions.handlers.verify_containment import verify_containment
from soar_actions.steps import Handler

__all__ = ["HANDLERS"]

HANDLERS: Final[Mapping[str, Handler]] = MappingProxyType(
    {
        "test-connectivity": test_connectivity,
        "list-agents": list_agents,
        "get-agent": get_agent,
        "contain-agent": contain_agent,
        "contain-agents": contain_agents,
        "release-agent": release_agent,
        "contain-session": contain_session,
        "block-tool": block_tool,
        "unblock-tool": unblock_tool,
        "block-destination": block_destination,
        "unblock-destination": unblock_destination,
        "revoke-tokens": revoke_tokens,
        "list-revocations": list_revocations,
        "list-directives": list_directives,
        "get-receipt": get_receipt,
        "verify-containment": verify_containment,
        "get-agent-timeline": get_agent_timeline,
        "get-blast-radius": get_blast_radius,
        "list-approvals": list_approvals,
        "get-approval": get_approval,
        "request-approval": request_approval,
        "get-operation": get_operation,
        "search-audit": search_audit,
        "verify-audit-log": verify_audit_log,
        "export-evidence": export_evidence,
        "open-incident": open_incident,
        "get-incident": get_incident,
        "update-incident": update_incident,
    }
)
"""Handlers by the slug of their action."""
