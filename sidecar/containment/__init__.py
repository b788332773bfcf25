# SPDX-License-Identifier: Apache-2.0
"""Containment: the orders that hold agents, from the lever to the proof that it held.

* ``orders``         what operators ask for, checked and fingerprinted
* ``events``         what happened, as journal records; the compatibility law of their format
* ``machine``        the state made of events, and how a call stands in it; no I/O
* ``rules``          who may contain, release and reach how far; no I/O
* ``ledger``         what control must remember beside that: request ids, what was ended
* ``acks``           which gate enforces what since when
* ``receipt``        the signed proof
* ``isolation``      drivers that stop runtimes; ``process_group`` is one
* ``service``        the levers: applies, publishes, makes durable, acknowledges; in that order
* ``journal``        what stands and the latch that carries it, in step
* ``drafts``         events made of orders; ``errands``, ``commits``: work that callers share
* ``dossier``        log entry, runtimes and receipt of each directive; ``lookup`` reads them
* ``history``        what stays when the journal is compacted; ``store_sqlite`` keeps it
"""
