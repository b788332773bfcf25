# SPDX-License-Identifier: Apache-2.0
"""Deciding one tool call: ``pipeline`` carries the eleven numbered obligations, in their order,
and ``evaluator`` the nine that need no waiting.

``question`` is what arrived, ``world`` the one immutable snapshot a decision is made under,
``limits`` and ``cache`` are machines without I/O, ``record`` is what goes to the log.
"""
