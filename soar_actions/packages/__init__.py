# SPDX-License-Identifier: Apache-2.0
"""Makes what is installed into a platform: vendored code, declarations, docs, archives."""
