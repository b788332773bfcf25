# SPDX-License-Identifier: Apache-2.0
"""What the system tests share: real processes, a gate in miniature, hostile certificates, tokens."""
