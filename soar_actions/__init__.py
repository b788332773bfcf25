# SPDX-License-Identifier: Apache-2.0
"""The levers a security team's playbooks pull: contain, release, look, verify.

``catalogue`` declares each action once; ``handlers`` do them; ``client`` talks to control; ``cli`` runs
a handler exactly as a platform's adapter does. Of ``sidecar`` only the generated contract is used.
"""
