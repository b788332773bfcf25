# SPDX-License-Identifier: Apache-2.0
"""Control actions that wait for a second human: release, wide containment, a laxer policy.

``service`` asks and tells, ``execution`` carries out what was granted, once; ``rules`` says which
action needs whom, ``forms`` what humans are shown, ``changes`` what differs between two bundles.
"""
