# SPDX-License-Identifier: Apache-2.0
"""The latch: a crash-proof pair of files that control writes and gates map read-only.

* ``format``    slots and journal records as bytes, and what may never change about them;
* ``recovery``  which slot counts, and whether its journal verifies; shared by both sides;
* ``files``     making, opening and identifying the two files; the seam under every write;
* ``writer``    control's side: publish first, make durable second;
* ``reader``    the gates' side: two words per call, and the state when one of them moved.
"""
