# SPDX-License-Identifier: Apache-2.0
"""The command line. Data goes to stdout, talk to stderr, and the exit code says how it went.

``main`` finds commands without importing them; ``command`` is what all of them have in common;
``output``, ``terminal`` and ``exits`` are the only places that print, escape and choose exit codes;
``client`` speaks to control. Each other module holds the commands it is named after.
"""
