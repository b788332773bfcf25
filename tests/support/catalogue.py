# SPDX-License-Identifier: Apache-2.0
"""Which case of the security catalogue is tested where, read from the names of the tests.

``python -m tests.support.catalogue`` prints the table.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

__all__ = ["REQUIRED", "cases", "main", "negative_controls"]

_TESTS = Path(__file__).resolve().parents[1]
_IDS = re.compile(r"test_((?:[a-kp][0-9]{1,2}_)+)")
_REQUIRED = """
    a01 a02 a03 a04 a05 a06 a10 a11 a12 a14 a15 a16 a18
    b01 b02 b03 b04 b05 b06
    c01 c02 c03 c04 c05 c06 c07 c11 c13
    d01 d02 d03 d04 d05 d06 d07 d08 d09 d10 d11 d12 d13 d14 d15 d16 d17 d18 d19 d20 d21 d22 d23 d24
    d25 d26
    e01 e02 e03 e06 e08 e10 e11 e12 e13 e17 e18
    f01 f02 f03 f05 f06 f08
    g01 g02 g03 g05 g06 g07 g08
    h01 h02 h03 h05 h10 h11
    i01 i02 i03 i04 i05 i06 i07 i08 i09 i10 i11
    k01 k02 k03
    p11
"""
REQUIRED = frozenset(_REQUIRED.split())
"""Cases without which nothing is called usable."""


def cases() -> dict[str, dict[str, list[str]]]:
    """Return the tests of each case: id to file to names."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(_TESTS.rglob("test_*.py")):
        for name in _names(path):
            match = _IDS.match(name)
            for case in match.group(1).strip("_").split("_") if match else ():
                found[case][path.relative_to(_TESTS).as_posix()].append(name)
    return {case: dict(files) for case, files in sorted(found.items())}


def negative_controls() -> list[str]:
    """Return the names of the tests that take a guard out."""
    return [
        name
        for path in sorted(_TESTS.rglob("test_*.py"))
        for name in _names(path)
        if name.endswith("negative_control")
    ]


def _names(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, kinds) and node.name.startswith("test_")
    ]


def main() -> None:
    """Print the table."""
    for case, files in cases().items():
        for path, names in files.items():
            print(f"{case.upper():4} {len(names):3}  tests/{path}")


if __name__ == "__main__":
    main()
