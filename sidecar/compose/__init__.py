# SPDX-License-Identifier: Apache-2.0
"""The composition roots: the only place where adapters are chosen and wired together."""
