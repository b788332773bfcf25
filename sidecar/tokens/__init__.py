# SPDX-License-Identifier: Apache-2.0
"""Tokens: whose we believe, whose they are, and which are revoked.

``validator`` proves a token, ``revocations`` says whether it still counts, ``keys`` holds what the
proofs are checked with; all three without I/O. ``jwks_file``, ``jwks_http`` and ``refresher`` bring
keys in, ``store_sqlite`` keeps revocations. Import from the modules.
"""
