# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a host, one small check each: what was found, and what to do about it.

A check changes nothing and never raises for what it finds: it returns ``CheckResult``s. ``run``
calls them all; ``sidecar.cli.doctor`` shows them.
"""
