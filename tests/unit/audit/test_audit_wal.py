# SPDX-License-Identifier: Apache-2.0
"""Frames: whole or absent, torn told from damaged."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.audit import wal
from sidecar.audit.wal import (
    FIRST_CHAIN,
    MAX_FRAME_PAYLOAD,
    encode_frame,
    encode_segment_header,
    pack_entries,
    scan_segment,
    segment_name,
    unpack_entries,
)
from sidecar.errors import IntegrityError

NAME = f"wal/{segment_name(0)}"
HEADER = 52
FRAME_HEADER = 60


def segment(*batches: list[bytes]) -> tuple[bytes, list[int]]:
    """Return the bytes of a segment and where each of its frames ends."""
    from hashlib import sha256

    data, chain, seq = encode_segment_header(base_seq=0, chain=FIRST_CHAIN), FIRST_CHAIN, 0
    ends = [len(data)]
    for batch in batches:
        frame = encode_frame(first_seq=seq, entries=batch, chain=chain)
        chain, seq = sha256(frame).digest(), seq + len(batch)
        data += frame
        ends.append(len(data))
    return data, ends


THREE = ([b'{"a":1}', b'{"b":22}'], [b'{"c":333}'], [b"x" * 700, b"y" * 700])


def test_a_segment_reads_back() -> None:
    """Frames come back in order with their numbers."""
    data, _ = segment(*THREE)

    read = scan_segment(data, name=NAME, is_last=True)

    assert [frame.first_seq for frame in read.frames] == [0, 2, 3]
    assert [list(frame.entries) for frame in read.frames] == list(THREE)
    assert (read.end_seq, read.good_bytes, read.torn_bytes) == (5, len(data), 0)


def test_g03_a_cut_at_every_byte_is_a_torn_tail_or_a_shorter_segment() -> None:
    """A cut loses at most the frame it hits; what was before is read whole."""
    data, ends = segment(*THREE)

    for length in range(HEADER, len(data)):
        read = scan_segment(data[:length], name=NAME, is_last=True)
        whole = max(end for end in ends if end <= length)

        assert read.good_bytes == whole
        assert read.torn_bytes == length - whole
        assert len(read.frames) == ends.index(whole)


def test_g03_a_cut_header_is_damage() -> None:
    """A segment's header is written by replacement, so a crash never cuts it."""
    data, _ = segment(*THREE)

    for length in range(HEADER):
        with pytest.raises(IntegrityError, match="header"):
            scan_segment(data[:length], name=NAME, is_last=True)


def test_g03_a_torn_frame_before_another_segment_is_damage() -> None:
    """Only the very end of the log can be torn."""
    data, ends = segment(*THREE)

    with pytest.raises(IntegrityError, match="continued"):
        scan_segment(data[: ends[2] + 5], name=NAME, is_last=False)


def test_g01_every_flipped_bit_is_damage_and_never_torn() -> None:
    """No bit makes an acknowledged frame look like one that a crash cut short (law 3)."""
    data, _ = segment(*THREE)

    for position in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(IntegrityError):
            scan_segment(bytes(flipped), name=NAME, is_last=True)


def test_g01_flipped_length_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the header's own checksum a flipped length turns an acked frame into a torn one."""
    data, ends = segment(*THREE)
    flipped = bytearray(data)
    flipped[ends[2] + 5] ^= 0x0F
    real = wal.crc32
    header = bytes(flipped[ends[2] : ends[2] + FRAME_HEADER - 4])
    monkeypatch.setattr(
        wal,
        "crc32",
        lambda part: (
            int.from_bytes(data[ends[2] + 56 : ends[2] + 60], "big")
            if part == header
            else real(part)
        ),
    )

    read = scan_segment(bytes(flipped), name=NAME, is_last=True)

    assert read.torn_bytes > 0


def test_lost_sectors_at_the_end_are_torn() -> None:
    """A sector of the last frame that came back as zeros was never acknowledged."""
    data, ends = segment(*THREE)
    for sector in range((ends[2] // 512 + 1) * 512, len(data), 512):
        lost = bytearray(data)
        stop = min(sector + 512, len(data))
        lost[sector:stop] = bytes(stop - sector)

        read = scan_segment(bytes(lost), name=NAME, is_last=True)

        assert read.good_bytes == ends[2]
    lost_all = data[: ends[2]] + bytes(len(data) - ends[2])
    assert scan_segment(lost_all, name=NAME, is_last=True).good_bytes == ends[2]


def test_a_header_across_a_lost_sector_is_torn() -> None:
    """The frame's header may itself be half lost."""
    first = [b"x" * (512 - HEADER - FRAME_HEADER - 2 - 20)]
    data, ends = segment(first, [b"y" * 400])
    assert 512 - ends[1] == 20

    lost = data[:512] + bytes(len(data) - 512)

    assert scan_segment(lost, name=NAME, is_last=True).good_bytes == ends[1]


def test_a_lost_sector_before_the_last_frame_is_damage() -> None:
    """A frame that was followed by another had been acknowledged."""
    data, ends = segment([b"x" * 2000], [b"y"])
    lost = bytearray(data)
    lost[1024:1536] = bytes(512)

    with pytest.raises(IntegrityError, match="checksum"):
        scan_segment(bytes(lost), name=NAME, is_last=True)
    assert ends[1] > 1536


def test_g02_frames_cannot_be_reordered_repeated_or_left_out() -> None:
    """The chain and the numbers hold each frame in its place."""
    data, ends = segment([b"a"], [b"b"], [b"c"])
    head = data[: ends[0]]
    frames = [data[ends[i] : ends[i + 1]] for i in range(3)]

    for order in ([1, 0, 2], [0, 2], [0, 0, 1, 2], [0, 1, 1], [1, 2], [0, 2, 1]):
        with pytest.raises(IntegrityError, match="continue"):
            scan_segment(head + b"".join(frames[i] for i in order), name=NAME, is_last=True)


def test_g02_a_rewritten_frame_breaks_the_chain() -> None:
    """An edited frame with a fresh checksum no longer fits the frame behind it."""
    data, ends = segment([b"a"], [b"b"], [b"c"])
    forged = encode_frame(first_seq=0, entries=[b"A"], chain=FIRST_CHAIN)

    with pytest.raises(IntegrityError, match="continue"):
        scan_segment(data[: ends[0]] + forged + data[ends[1] :], name=NAME, is_last=True)


def test_a_segment_under_another_name_is_damage() -> None:
    """The name is bound to the header."""
    data, _ = segment([b"a"])

    with pytest.raises(IntegrityError, match="name"):
        scan_segment(data, name=f"wal/{segment_name(1)}", is_last=True)


def test_a_frame_that_claims_too_much_is_damage() -> None:
    """The limits of a frame hold even under a right checksum."""
    data, _ = segment([])
    too_large = encode_frame(first_seq=0, entries=[b"x" * 65535] * 17, chain=FIRST_CHAIN)

    with pytest.raises(IntegrityError, match="another number"):
        scan_segment(data, name=NAME, is_last=True)
    assert len(too_large) > MAX_FRAME_PAYLOAD
    with pytest.raises(IntegrityError, match="not a frame"):
        scan_segment(data[:HEADER] + too_large, name=NAME, is_last=True)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=600), st.booleans())
def test_garbage_raises_only_integrity_errors(data: bytes, is_after_header: bool) -> None:
    """Any bytes are read as frames, torn tail or damage."""
    if is_after_header:
        data = encode_segment_header(base_seq=0, chain=FIRST_CHAIN) + data
    try:
        read = scan_segment(data, name=NAME, is_last=True)
    except IntegrityError:
        return

    assert not read.frames


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=12))
def test_packing_is_reversible(entries: list[bytes]) -> None:
    """Entries come back; any cut inside is noticed or leaves whole entries."""
    packed = pack_entries(entries)

    assert unpack_entries(packed) == entries
    if packed:
        with pytest.raises(IntegrityError, match="cut short"):
            unpack_entries(packed[:-1])
