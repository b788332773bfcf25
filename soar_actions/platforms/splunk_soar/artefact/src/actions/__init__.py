# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
"""Every action of the app; importing one registers it."""

from . import block_destination as block_destination
from . import block_tool as block_tool
from . import contain_agent as contain_agent
from . import contain_agents as contain_agents
from . import contain_session as contain_session
from . import export_evidence as export_evidence
from . import get_agent as get_agent
from . import get_agent_timeline as get_agent_timeline
from . import get_approval as get_approval
from . import get_blast_radius as get_blast_radius
from . import get_incident as get_incident
from . import get_operation as get_operation
from . import get_receipt as get_receipt
from . import list_agents as list_agents
from . import list_approvals as list_approvals
from . import list_directives as list_directives
from . import list_revocations as list_revocations
from . import open_incident as open_incident
from . import release_agent as release_agent
from . import request_approval as request_approval
from . import revoke_tokens as revoke_tokens
from . import search_audit as search_audit
from . import unblock_destination as unblock_destination
from . import unblock_tool as unblock_tool
from . import update_incident as update_incident
from . import verify_audit_log as verify_audit_log
from . import verify_containment as verify_containment
