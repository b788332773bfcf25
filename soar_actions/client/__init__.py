# SPDX-License-Identifier: Apache-2.0
"""Talks to control on behalf of a playbook: TLS, a deadline on everything, bounded retries.

``http`` and what it stands on travel inside every platform's package; ``grpc_transport`` does not.
"""
