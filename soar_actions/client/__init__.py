# SPDX-License-Identifier: Apache-2.0
"""Talks to control on behalf of a playbook: mutual TLS, a deadline on everything, bounded retries."""

from soar_actions.client.connection import Connection
from soar_actions.client.control import ControlClient

__all__ = ["Connection", "ControlClient"]
