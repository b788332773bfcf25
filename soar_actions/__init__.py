# SPDX-License-Identifier: Apache-2.0
"""The levers a security team's playbooks pull, for every SOAR platform.

``catalogue`` declares each action once; ``handlers`` do them, without I/O; ``client`` talks to
control; ``run.perform`` joins the three, and is all that a platform's adapter calls. ``packages``
makes of it what is installed into a platform; ``platforms`` holds each platform's own part. Of
``sidecar`` only the generated contract is used, and only by the command line.
"""
