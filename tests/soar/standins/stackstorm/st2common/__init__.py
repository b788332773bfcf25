# SPDX-License-Identifier: Apache-2.0
"""A stand-in of ours for the one class of StackStorm that an action needs."""
