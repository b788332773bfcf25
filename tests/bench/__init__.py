# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: ``make bench`` runs them all in one go and writes ``build/bench.json``.

Figures of different machines, or of different minutes on a shared one, cannot be compared; so every
speed is a **ratio to something measured beside it in the same run**, rounds interleaved. A latency
without its regime means nothing: *closed loop* asks again as soon as it has the answer, *paced* asks
once every 20 ms, which is closer to what an agent does, and slower, because everything sleeps.
"""
