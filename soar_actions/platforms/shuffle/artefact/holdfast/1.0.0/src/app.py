# SPDX-License-Identifier: Apache-2.0
# Generated from the catalogue; do not edit.
# fmt: off
"""Holdfast's actions, one method each; the catalogue checks what they are given."""

from holdfast_base import HoldfastBase


class Holdfast(HoldfastBase):
    """Contains, revokes and verifies AI agents that go wrong."""

    def test_connection(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        **unknown,
    ):
        """Check that control can be reached, that its certificate is trusted and that it a."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
        }
        return self.carry_out("test-connectivity", settings, parameters, unknown)

    def list_agents(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        limit="1000",
        **unknown,
    ):
        """Return the agents that the policy bundle declares and those that a gate serves,."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "limit": limit,
        }
        return self.carry_out("list-agents", settings, parameters, unknown)

    def get_agent(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        agent="",
        **unknown,
    ):
        """Return an agent's owner, labels, gates, standing directives and counts of decisi."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "agent": agent,
        }
        return self.carry_out("get-agent", settings, parameters, unknown)

    def contain_agent(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        agent="",
        level="FREEZE",
        reason="",
        ttl_seconds="",
        idempotency_key="",
        **unknown,
    ):
        """Hold an agent at a containment level."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "agent": agent,
            "level": level,
            "reason": reason,
            "ttl_seconds": ttl_seconds,
            "idempotency_key": idempotency_key,
        }
        return self.carry_out("contain-agent", settings, parameters, unknown)

    def contain_agents(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        agents="",
        level="FREEZE",
        reason="",
        ttl_seconds="",
        idempotency_key="",
        **unknown,
    ):
        """Hold several agents at a containment level."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "agents": agents,
            "level": level,
            "reason": reason,
            "ttl_seconds": ttl_seconds,
            "idempotency_key": idempotency_key,
        }
        return self.carry_out("contain-agents", settings, parameters, unknown)

    def release_agent(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        epoch="",
        agent="",
        reason="",
        idempotency_key="",
        **unknown,
    ):
        """End one containment directive, named by its epoch; or, named by an agent, every."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "epoch": epoch,
            "agent": agent,
            "reason": reason,
            "idempotency_key": idempotency_key,
        }
        return self.carry_out("release-agent", settings, parameters, unknown)

    def contain_session(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        agent="",
        session="",
        level="FREEZE",
        reason="",
        ttl_seconds="",
        idempotency_key="",
        **unknown,
    ):
        """Hold one session of an agent at a containment level; its other sessions go on."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "agent": agent,
            "session": session,
            "level": level,
            "reason": reason,
            "ttl_seconds": ttl_seconds,
            "idempotency_key": idempotency_key,
        }
        return self.carry_out("contain-session", settings, parameters, unknown)

    def block_tool(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        tool="",
        agent="",
        reason="",
        ttl_seconds="",
        idempotency_key="",
        **unknown,
    ):
        """Deny every call of a tool: at one agent, or at all."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "tool": tool,
            "agent": agent,
            "reason": reason,
            "ttl_seconds": ttl_seconds,
            "idempotency_key": idempotency_key,
        }
        return self.carry_out("block-tool", settings, parameters, unknown)

    def unblock_tool(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        epoch="",
        tool="",
        agent="",
        reason="",
        idempotency_key="",
        **unknown,
    ):
        """End one directive, named by its epoch; or, named by a tool, every standing direc."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "epoch": epoch,
            "tool": tool,
            "agent": agent,
            "reason": reason,
            "idempotency_key": idempotency_key,
        }
        return self.carry_out("unblock-tool", settings, parameters, unknown)

    def block_destination(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        destination="",
        reason="",
        ttl_seconds="",
        idempotency_key="",
        **unknown,
    ):
        """Deny every tool call of every agent that would reach a host, or a domain with ev."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "destination": destination,
            "reason": reason,
            "ttl_seconds": ttl_seconds,
            "idempotency_key": idempotency_key,
        }
        return self.carry_out("block-destination", settings, parameters, unknown)

    def unblock_destination(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        epoch="",
        destination="",
        reason="",
        idempotency_key="",
        **unknown,
    ):
        """End one directive, named by its epoch; or, named by a destination, every standin."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "epoch": epoch,
            "destination": destination,
            "reason": reason,
            "idempotency_key": idempotency_key,
        }
        return self.carry_out("unblock-destination", settings, parameters, unknown)

    def revoke_tokens(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        agent="",
        session="",
        issuer="",
        token_id="",
        issued_before="",
        reason="",
        idempotency_key="",
        **unknown,
    ):
        """Revoke every token that matches all given selectors, at the next call."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "agent": agent,
            "session": session,
            "issuer": issuer,
            "token_id": token_id,
            "issued_before": issued_before,
            "reason": reason,
            "idempotency_key": idempotency_key,
        }
        return self.carry_out("revoke-tokens", settings, parameters, unknown)

    def list_revocations(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        limit="100",
        **unknown,
    ):
        """Return revocations of tokens, newest first."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "limit": limit,
        }
        return self.carry_out("list-revocations", settings, parameters, unknown)

    def list_directives(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        agent="",
        include_ended="false",
        limit="100",
        **unknown,
    ):
        """Return containment directives, newest first: all, or those that hold one agent,."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "agent": agent,
            "include_ended": include_ended,
            "limit": limit,
        }
        return self.carry_out("list-directives", settings, parameters, unknown)

    def get_receipt(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        epoch="",
        **unknown,
    ):
        """Return the signed receipt of a directive as it stands now: gates that acknowledg."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "epoch": epoch,
        }
        return self.carry_out("get-receipt", settings, parameters, unknown)

    def verify_containment(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        agent="",
        max_calls="100",
        **unknown,
    ):
        """Replay the agent's last recorded calls through its gates, as a dry run."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "agent": agent,
            "max_calls": max_calls,
        }
        return self.carry_out("verify-containment", settings, parameters, unknown)

    def get_agent_timeline(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        agent="",
        since="",
        until="",
        session="",
        limit="100",
        **unknown,
    ):
        """Return decisions with their outcomes, containments, releases, revocations and ap."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "agent": agent,
            "since": since,
            "until": until,
            "session": session,
            "limit": limit,
        }
        return self.carry_out("get-agent-timeline", settings, parameters, unknown)

    def get_blast_radius(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        agent="",
        since="",
        until="",
        **unknown,
    ):
        """Return the tools, data, destinations, credentials and humans that an agent can h."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "agent": agent,
            "since": since,
            "until": until,
        }
        return self.carry_out("get-blast-radius", settings, parameters, unknown)

    def list_approvals(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        agent="",
        pending_only="true",
        limit="100",
        **unknown,
    ):
        """Return requests for human decisions, newest first."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "agent": agent,
            "pending_only": pending_only,
            "limit": limit,
        }
        return self.carry_out("list-approvals", settings, parameters, unknown)

    def get_approval(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        approval="",
        **unknown,
    ):
        """Return one request for a human decision: who may decide, who did, and until when."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "approval": approval,
        }
        return self.carry_out("get-approval", settings, parameters, unknown)

    def request_approval(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        question="",
        details="",
        agent="",
        idempotency_key="",
        **unknown,
    ):
        """Ask humans to grant or refuse something, in words: a step of a playbook that no."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "question": question,
            "details": details,
            "agent": agent,
            "idempotency_key": idempotency_key,
        }
        return self.carry_out("request-approval", settings, parameters, unknown)

    def get_operation(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        operation="",
        wait_seconds="0",
        **unknown,
    ):
        """Tell how an action stands that a human must grant: PENDING while it waits, PARTI."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "operation": operation,
            "wait_seconds": wait_seconds,
        }
        return self.carry_out("get-operation", settings, parameters, unknown)

    def search_audit(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        log="",
        agent="",
        tool="",
        decision_id="",
        entry_kind="",
        effect="",
        since="",
        until="",
        limit="100",
        **unknown,
    ):
        """Return entries of a log, newest first, as they were recorded (arguments redacted."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "log": log,
            "agent": agent,
            "tool": tool,
            "decision_id": decision_id,
            "entry_kind": entry_kind,
            "effect": effect,
            "since": since,
            "until": until,
            "limit": limit,
        }
        return self.carry_out("search-audit", settings, parameters, unknown)

    def verify_audit_log(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        log="",
        **unknown,
    ):
        """Verify logs from their files: every entry, hash and signature."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "log": log,
        }
        return self.carry_out("verify-audit-log", settings, parameters, unknown)

    def export_evidence(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        agent="",
        since="",
        until="",
        limit="1000",
        **unknown,
    ):
        """Return what was recorded of an agent in a window of time, with a proof for every."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "agent": agent,
            "since": since,
            "until": until,
            "limit": limit,
        }
        return self.carry_out("export-evidence", settings, parameters, unknown)

    def open_incident(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        agent="",
        title="",
        severity="MEDIUM",
        since="",
        until="",
        techniques="",
        verdict="UNDETERMINED",
        note="",
        external_reference="",
        idempotency_key="",
        **unknown,
    ):
        """Open the record of an agent incident: control gathers who the agent is, the poli."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "agent": agent,
            "title": title,
            "severity": severity,
            "since": since,
            "until": until,
            "techniques": techniques,
            "verdict": verdict,
            "note": note,
            "external_reference": external_reference,
            "idempotency_key": idempotency_key,
        }
        return self.carry_out("open-incident", settings, parameters, unknown)

    def get_incident(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        incident="",
        **unknown,
    ):
        """Return one incident as it stands."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "incident": incident,
        }
        return self.carry_out("get-incident", settings, parameters, unknown)

    def update_incident(
        self,
        endpoint="",
        api_token="",
        ca_certificate="",
        client_certificate="",
        client_key="",
        timeout_seconds="",
        proxy="",
        incident="",
        verdict="",
        techniques="",
        note="",
        close="false",
        idempotency_key="",
        **unknown,
    ):
        """Add a verdict, techniques or a note to an incident, or close it."""
        settings = {
            "endpoint": endpoint,
            "api_token": api_token,
            "ca_certificate": ca_certificate,
            "client_certificate": client_certificate,
            "client_key": client_key,
            "timeout_seconds": timeout_seconds,
            "proxy": proxy,
        }
        parameters = {
            "incident": incident,
            "verdict": verdict,
            "techniques": techniques,
            "note": note,
            "close": close,
            "idempotency_key": idempotency_key,
        }
        return self.carry_out("update-incident", settings, parameters, unknown)


if __name__ == "__main__":
    Holdfast.run()
