# SPDX-License-Identifier: Apache-2.0
"""A stand-in of ours for ``phantom.rules``, which only a Splunk SOAR server has."""
