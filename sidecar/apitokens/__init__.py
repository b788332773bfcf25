# SPDX-License-Identifier: Apache-2.0
"""API tokens: how automation calls control where a client certificate cannot be had."""
