# SPDX-License-Identifier: Apache-2.0
"""The main job: real recorded tool calls through real gates, then a kill in the middle, proved.

``dataset`` reads AgentDojo's recorded calls; ``replay`` asks the gates about them; ``drill`` contains
the banking agent while 64 callers are in flight and proves it; ``report`` shows; ``run`` conducts.
"""
