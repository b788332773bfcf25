# SPDX-License-Identifier: Apache-2.0
"""What an agent did and what it can have touched, out of log entries. Pure: no I/O, no clock."""
