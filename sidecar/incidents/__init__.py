# SPDX-License-Identifier: Apache-2.0
"""Records of agents that went wrong: what was gathered once, and what people make of it."""
