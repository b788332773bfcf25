# SPDX-License-Identifier: Apache-2.0
"""Holdfast: a sidecar that authorizes an AI agent's tool calls and can stop it, provably.

The rooms, from the top down: ``cli``, ``gate`` and ``control`` are entry points; ``authorize``,
``policy``, ``containment``, ``tokens``, ``latch`` and ``audit`` are the components, each a machine
without I/O plus the adapters around it; ``model``, ``errors``, ``canonical``, ``clock`` and ``ids``
are the values everything speaks in. ``sidecar/README.md`` tells the whole story.
"""

__version__ = "0.1.0"
