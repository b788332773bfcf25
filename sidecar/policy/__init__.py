# SPDX-License-Identifier: Apache-2.0
"""Policy: bundles, and the engine that decides tool calls by them.

``bundle`` loads and checks a directory; ``engine`` decides; ``check`` is what the command line
shows people. The rest are the parts: one small module per file of the bundle, and Cedar's side
(``cedar_text``, ``policies``, ``types``, ``schema``, ``convert``, ``projection``, ``slices``).
"""
