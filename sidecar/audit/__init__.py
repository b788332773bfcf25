# SPDX-License-Identifier: Apache-2.0
"""The audit log: what was decided and done, in a form that tells when it was touched.

One append-only transparency log per process (gate, control). Where to look:

* ``log``        the writer: sequence numbers, group commit; ``wal`` its frames, ``integrator``
                 tiles and checkpoints, ``opening`` and ``recovery`` what happens on open;
* ``entry``      what one entry is, and what may change about it; ``redaction`` what may enter it;
* ``merkle``, ``note``, ``tiles``  RFC 6962, signed notes, the C2SP ``tlog-tiles`` layout;
* ``head``       the signer that refuses to sign a fork; ``anchors`` holders outside the directory;
* ``reader``     reading, proofs, ``show`` and ``prove``; ``index_sqlite`` a query index;
* ``outcomes``   joins outcomes to decisions;
* ``verify``     the offline verifier. It shares **no code** with the rest, on purpose: copy that
                 one file to another machine and run it there.

This package imports nothing here, so that ``python -m sidecar.audit.verify`` loads the verifier
alone.
"""
