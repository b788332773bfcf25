# SPDX-License-Identifier: Apache-2.0
"""Puts the portable code into a platform's package: as a package of its own name, or as one file.

Laws:

1. The same source gives the same bytes.
2. Only portable modules travel: what they import is the standard library or each other, by
   ``from soar_actions.x import name``. Anything else is refused here, not found out at a customer's.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["ROOT", "portable_modules", "single_file", "vendor"]

ROOT: Final = Path(__file__).resolve().parents[1]
_PACKAGE: Final = "soar_actions"
_ALONE: Final = ("errors", "steps", "run")
_FOLDERS: Final = ("catalogue", "client", "handlers")
_STAYS: Final = frozenset({"client/grpc_transport.py"})
_NOTE: Final = "# Generated from Holdfast's soar_actions; do not edit."
_LICENCE: Final = "# SPDX-License-Identifier: Apache-2.0"
_PREFIX: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*(\.[a-zA-Z_][a-zA-Z0-9_]*)*")


def portable_modules() -> dict[str, str]:
    """Return the text of every portable module by its path below the package, in order.

    Raises:
        ValueError: One imports what does not travel (law 2).
    """
    paths = [ROOT / f"{name}.py" for name in _ALONE]
    for folder in _FOLDERS:
        paths += (ROOT / folder).glob("*.py")
    modules = {}
    for path in sorted(paths):
        name = path.relative_to(ROOT).as_posix()
        if name not in _STAYS:
            modules[name] = path.read_text(encoding="utf-8")
    names = {_module(name) for name in modules}
    for name, text in modules.items():
        for node in ast.walk(ast.parse(text)):
            _check_import(name, node, names)
    return modules


def vendor(destination: Path, *, prefix: str) -> list[Path]:
    """Write the portable modules below *destination*, which becomes the package *prefix*.

    Args:
        destination: Folder of the package; made if it is not there. Other files in it stay.
        prefix: Name by which the platform imports it: ``holdfast_actions``, ``.`` separated.

    Returns:
        What was written, in order.
    """
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f"no name of a package: {prefix!r}")
    modules = portable_modules()
    modules["__init__.py"] = (
        f'{_LICENCE}\n"""Holdfast\'s actions, as every platform runs them."""\n'
    )
    written = []
    for name in sorted(modules):
        path = destination / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_renamed(modules[name], prefix), encoding="utf-8", newline="\n")
        written.append(path)
    return written


def single_file() -> str:
    """Return the portable modules as one module, for platforms whose plugin is one file.

    Private names that two modules share get their module's name behind them.

    Raises:
        ValueError: Two modules export different things by one name.
    """
    modules = {
        name: text for name, text in portable_modules().items() if name != "client/__init__.py"
    }
    order = _in_order(modules)
    counts: dict[str, list[str]] = {}
    for name in order:
        for defined in _defined(modules[name]):
            counts.setdefault(defined, []).append(name)
    shared = {defined for defined, where in counts.items() if len(where) > 1}
    public = sorted(defined for defined in shared if not defined.startswith("_"))
    if public:
        raise ValueError(f"defined in more than one portable module: {', '.join(public)}")
    imports: set[str] = set()
    bodies = []
    for name in order:
        own = shared & set(_defined(modules[name]))
        mark = _module(name).partition(".")[2].replace(".", "_")
        imports_here, body = _split(modules[name])
        imports |= imports_here
        bodies.append(f"# --- {_module(name)}\n{_with_marks(body, own, mark).strip()}\n")
    head = [_LICENCE, _NOTE, '"""Holdfast\'s actions in one file: standard library only."""']
    return "\n".join([*head, "", *sorted(imports), "", *bodies])


def _module(name: str) -> str:
    parts = name.removesuffix(".py").removesuffix("/__init__").split("/")
    return ".".join([_PACKAGE, *parts])


def _check_import(name: str, node: ast.AST, names: set[str]) -> None:
    if isinstance(node, ast.Import):
        wanted = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        wanted = [node.module or ""]
        if node.level or any(alias.name == "*" for alias in node.names):
            raise ValueError(f"{name}:{node.lineno}: import names, by the whole path")
        if node.module and node.module.startswith(_PACKAGE):
            if node.module not in names:
                raise ValueError(f"{name}:{node.lineno}: {node.module} does not travel")
            if any(alias.asname for alias in node.names):
                raise ValueError(f"{name}:{node.lineno}: no other name for what is ours")
            return
    else:
        return
    for module in wanted:
        if module.partition(".")[0] not in sys.stdlib_module_names:
            raise ValueError(f"{name}:{node.lineno}: {module} is not in the standard library")


def _renamed(text: str, prefix: str) -> str:
    renamed = re.sub(
        rf"^(\s*from ){_PACKAGE}((?:\.\w+)+ import )", rf"\g<1>{prefix}\g<2>", text, flags=re.M
    )
    first, _, rest = renamed.partition("\n")
    return f"{first}\n{_NOTE}\n{rest}"


def _in_order(modules: Mapping[str, str]) -> list[str]:
    """Return the modules so that each comes after those that it imports."""
    by_module = {_module(name): name for name in modules}
    order: list[str] = []

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ValueError(f"{name} imports itself in a circle")
        if name in order:
            return
        for node in ast.walk(ast.parse(modules[name])):
            if isinstance(node, ast.ImportFrom) and node.module in by_module:
                add(by_module[node.module], (*above, name))
        order.append(name)

    for name in modules:
        add(name, ())
    return order


def _defined(text: str) -> list[str]:
    names = []
    for node in ast.parse(text).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return sorted({name for name in names if name != "__all__"})


def _split(text: str) -> tuple[set[str], str]:
    """Return (imports of the standard library, the rest without docstring, ``__all__`` and ours)."""
    imports = set()
    lines = text.splitlines()
    gone: set[int] = set()
    body = ast.parse(text).body
    for at, node in enumerate(body):
        is_docstring = at == 0 and isinstance(node, ast.Expr)
        is_import = isinstance(node, (ast.Import, ast.ImportFrom))
        is_all = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        if not (is_docstring or is_import or is_all):
            continue
        gone.update(range(node.lineno - 1, node.end_lineno or node.lineno))
        if isinstance(node, ast.Import):
            imports |= {
                f"import {alias.name}" + (f" as {alias.asname}" if alias.asname else "")
                for alias in node.names
            }
        elif isinstance(node, ast.ImportFrom) and not str(node.module).startswith(_PACKAGE):
            for alias in node.names:
                imports.add(ast.unparse(ast.ImportFrom(node.module, [alias], 0)))
    kept = [line for at, line in enumerate(lines) if at not in gone and line != _LICENCE]
    return imports, re.sub(r"\n{4,}", "\n\n\n", "\n".join(kept))


def _with_marks(text: str, names: set[str], mark: str) -> str:
    """Return *text* with ``_<mark>`` behind each of *names*."""
    if not names:
        return text
    lines = text.splitlines(keepends=True)
    before = ""
    places = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and token.string in names and before != ".":
            places.append(token.end)
        before = token.string
    for row, column in reversed(places):
        line = lines[row - 1]
        lines[row - 1] = f"{line[:column]}_{mark}{line[column:]}"
    return "".join(lines)
