# SPDX-License-Identifier: Apache-2.0
"""Approvals: what policy holds waits for a human, is granted or refused once, and is used once.

Values, without I/O:

* ``values``        requests, votes, approvals, bindings
* ``machine``       what may become what; the laws
* ``requests``      what may become an approval; ``deadlines``: two clocks
* ``eligibility``   who decides a request
* ``tiers``         what each tier asks; ``challenge``: what a passkey signs
* ``refusals``      every no as a value, and its sentence
* ``answers``       what goes into the service and what comes out
* ``record``        what the log says of a transition

The service and its parts:

* ``service``       ``Approvals``, the one way in
* ``transitions``   log, compare-and-swap, memory, listeners; in the order that fails closed
* ``entries``       the log, and what it missed; ``worker``: the store's thread
* ``holding``       held calls; ``deciding``: votes; ``acting``: control actions
* ``ending``        what has become moot; ``sweeping``: what time does
* ``board``         what is live, in memory; ``world``: what a grant is held against
* ``changes``       who is told; ``tally``: what is counted

Adapters: ``store`` says how approvals are kept, ``store_sqlite`` keeps them, ``rows`` is their form.
``ports`` is what the composition root has to bring. Import from the modules.
"""
