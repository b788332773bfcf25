# SPDX-License-Identifier: Apache-2.0
"""What the processes say about themselves: logs, metrics, health. Nothing here decides."""
