# SPDX-License-Identifier: Apache-2.0
"""Control: the control-plane process of a host. It commands; no agent can reach it.

``app`` runs it; ``identity`` and ``interceptor`` decide who may call what, before any servicer sees
the request; one servicer module per public service; ``gates`` keeps the gates in step over the
internal socket; ``pki`` makes development certificates; ``convert`` meets protobuf.
"""
