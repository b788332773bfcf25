# SPDX-License-Identifier: Apache-2.0
"""The gate: the data-plane process beside an agent. It decides and records; it commands nothing.

``app`` runs it; ``sockets`` binds one Unix socket per agent, which *is* the agent's identity;
``servicer`` answers the guard service; ``sync`` keeps the gate in step with control; ``convert`` is
the only place where protobuf meets the values of ``sidecar.model``.
"""
