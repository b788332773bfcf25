# SPDX-License-Identifier: Apache-2.0
"""The style sheet is held to WCAG 2.2 AA where that can be computed, and loads nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sidecar.web

WEB = Path(sidecar.web.__file__).parent
CSS = (WEB / "static" / "holdfast.css").read_text()
TEXT_PAIRS = [
    *(
        ("text", ground)
        for ground in ("bg", "surface", "sunken", "ok-bg", "warn-bg", "bad-bg", "odd-bg")
    ),
    *(("muted", ground) for ground in ("bg", "surface", "sunken", "ok-bg", "warn-bg", "bad-bg")),
    *(("link", ground) for ground in ("bg", "surface", "sunken", "warn-bg", "ok-bg", "bad-bg")),
    *((kind, f"{kind}-bg") for kind in ("ok", "warn", "bad", "odd")),
    *((kind, "surface") for kind in ("ok", "warn", "bad", "odd")),
    *(("warn", "sunken"), ("bad", "sunken"), ("odd-bg", "odd")),
    *(("on-accent", "accent"), ("surface", "bad")),
]
EDGE_PAIRS = [
    *(("edge", ground) for ground in ("bg", "surface", "sunken")),
    *(("accent", ground) for ground in ("bg", "surface", "sunken")),
    *((kind, "surface") for kind in ("ok", "warn", "bad")),
]


def schemes() -> dict[str, dict[str, str]]:
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    light, dark = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block)) for block in blocks)
    return {"light": light, "dark": {**light, **dark}}


def luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("front", "ground"), TEXT_PAIRS)
def test_text_stands_out_from_its_ground(scheme: str, front: str, ground: str) -> None:
    """At least 4.5:1, in both schemes (1.4.3)."""
    colours = schemes()[scheme]

    assert contrast(colours[front], colours[ground]) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("front", "ground"), EDGE_PAIRS)
def test_edges_of_controls_and_drawings_can_be_seen(scheme: str, front: str, ground: str) -> None:
    """At least 3:1, in both schemes (1.4.11)."""
    colours = schemes()[scheme]

    assert contrast(colours[front], colours[ground]) >= 3


def test_contrast_is_computed_as_the_guideline_says() -> None:
    """Black on white is 21:1."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_nothing_is_loaded_from_elsewhere() -> None:
    """No page, style or script of ours names another host; none has an inline style or handler."""
    for path in [*(WEB / "templates").iterdir(), *(WEB / "static").iterdir()]:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(?:href|src|url\(|import)\s*[=(]?\s*[\"']?(?:https?:)?//", text), (
            path
        )
        assert "@import" not in text
        if path.suffix == ".html":
            assert not re.search(r"\sstyle=|\son[a-z]+=|javascript:|<style|<script>", text), path


def test_no_template_turns_escaping_off() -> None:
    """Markup comes from the drawings and from macros only."""
    for path in (WEB / "templates").iterdir():
        text = path.read_text()
        assert not re.search(r"\|\s*safe|autoescape|Markup", text), path


def test_scripts_never_write_markup() -> None:
    """Only text is written, and nothing is evaluated."""
    for path in (WEB / "static").glob("*.js"):
        code = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.DOTALL)
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|DOMParser"
            r"|\bon[a-z]+\s*=|localStorage|sessionStorage|document\.cookie",
            code,
        ), path
