# SPDX-License-Identifier: Apache-2.0
"""Tells approvers what waits for them. ``notifier`` is the whole; ``build`` reads its configuration.

A message informs: nothing is decided by it, through it, or for want of it.
"""
