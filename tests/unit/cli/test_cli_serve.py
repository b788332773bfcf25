# SPDX-License-Identifier: Apache-2.0
"""What ``holdfast control`` refuses before it touches anything."""

from __future__ import annotations

import pytest

from sidecar.cli.exits import Exit


@pytest.mark.parametrize("digest", ["abc", "G" * 64, "a" * 63, "A" * 64, "a" * 64 + "\n"])
def test_what_is_no_digest_is_not_accepted(holdfast, short_dir, digest):
    """All 64 digits: the beginning of a digest names more than one bundle."""
    outcome = holdfast(
        "control", "--dev", "--state-dir", str(short_dir / "s"), "--accept-policy", digest
    )

    assert outcome.code == Exit.USAGE
    assert "--accept-policy" in outcome.err
    assert not (short_dir / "s").exists()
