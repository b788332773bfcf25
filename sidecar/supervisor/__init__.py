# SPDX-License-Identifier: Apache-2.0
"""Runs control and gates as child processes: for ``holdfast up``, ``run`` and ``quickstart``.

In production systemd or Kubernetes does this; see ``deploy/``.
"""
