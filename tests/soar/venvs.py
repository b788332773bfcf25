# SPDX-License-Identifier: Apache-2.0
"""Each platform's libraries, in an environment of their own, because they bar one another.

``.venv-soar-<name>`` is made from ``requirements/<name>.lock``: exact versions and hashes, wheels
only. The first line of a lock names the Python that the platform runs (``# python: 3.13``); a second
line ``# source: PACKAGE …`` names what exists as source only, and is then built with what else the
lock holds and nothing from elsewhere. A machine without that Python gets a reason and no
environment: its runners are then *not run*.

``python -m tests.soar.venvs [NAME …]`` makes them and says so.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

__all__ = ["REQUIREMENTS", "find_python", "main", "names", "python_of"]

_ROOT: Final = Path(__file__).resolve().parents[2]
REQUIREMENTS: Final = Path(__file__).resolve().parent / "requirements"
_DEADLINE_S: Final = 600
_FORM: Final = re.compile(r"# python: (3\.[0-9]{1,2})")
_PIP: Final = ("-m", "pip", "--disable-pip-version-check", "--no-input", "install", "-q")
_WHEELS_ONLY: Final = ("--require-hashes", "--no-deps", "--only-binary", ":all:")
_results: dict[str, Path | str] = {}


def names() -> list[str]:
    """Return every environment that a lock describes."""
    return sorted(path.stem for path in REQUIREMENTS.glob("*.lock"))


def python_of(venv: str) -> Path | str:
    """Return the interpreter of an environment, made first if need be; or why there is none.

    The answer is kept: what failed once is not tried again by the same process.
    """
    if venv not in _results:
        _results[venv] = _make(venv)
    return _results[venv]


def find_python(version: str) -> Path | None:
    """Return an interpreter of exactly *version* (``3.13``): of the PATH, or of pyenv."""
    candidates = [shutil.which(f"python{version}")]
    for root in _pyenv_roots():
        candidates += sorted(
            str(path) for path in _glob(root / "versions", f"{version}.*/bin/python")
        )
    for candidate in candidates:
        if candidate and _version_of(candidate) == version:
            return Path(candidate)
    return None


def _pyenv_roots() -> list[Path]:
    """Return where pyenv may keep its versions; whoever has one of them on the PATH has the others."""
    named = os.environ.get("PYENV_ROOT")
    roots = [Path(named)] if named else []
    roots.append(Path.home() / ".pyenv")
    for text in os.environ.get("PATH", "").split(os.pathsep):
        folder = Path(text)
        if folder.name == "shims":
            roots.append(folder.parent)
        elif folder.name == "bin" and folder.parent.parent.name == "versions":
            roots.append(folder.parent.parent.parent)
    return list(dict.fromkeys(roots))


def main(arguments: list[str]) -> int:
    """Make the environments *arguments* (default: all), and say how that went."""
    for name in arguments or names():
        found = python_of(name)
        _say(f"  {name:14} {'ready' if isinstance(found, Path) else f'not to be had: {found}'}")
    return 0


def _make(venv: str) -> Path | str:
    lock = REQUIREMENTS / f"{venv}.lock"
    if not lock.is_file():
        return f"there is no tests/soar/requirements/{lock.name}"
    text = lock.read_text(encoding="utf-8")
    named = _FORM.fullmatch(text.partition("\n")[0].strip())
    if named is None:
        return f"the first line of {lock.name} does not name a Python (# python: 3.13)"
    version = named[1]
    directory = _ROOT / f".venv-soar-{venv}"
    interpreter, ready = directory / "bin" / "python", directory / ".ready"
    wanted = sha256(text.encode()).hexdigest()
    with _alone(venv):
        if _read(ready) == wanted and _version_of(str(interpreter)) == version:
            return interpreter
        base = find_python(version)
        if base is None:
            return f"there is no Python {version} on this machine"
        _say(f"Setting up {directory.name} on Python {version} (a minute or two, once) ...")
        try:
            _build(base, directory, text)
        except subprocess.TimeoutExpired:
            return f"{directory.name} could not be set up within {_DEADLINE_S} s"
        except subprocess.CalledProcessError as exc:
            return f"{directory.name} could not be set up: {_last_line(exc)}"
        ready.write_text(wanted, encoding="utf-8")
        return interpreter


def _build(base: Path, directory: Path, lock: str) -> None:
    deadline = time.monotonic() + _DEADLINE_S

    def run(*command: str) -> None:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=max(1.0, deadline - time.monotonic()),
            env=_environment(),
            cwd=_ROOT,
        )

    shutil.rmtree(directory, ignore_errors=True)
    run(str(base), "-m", "venv", str(directory))
    python = str(directory / "bin" / "python")
    wheels, sources = _split(lock)
    with tempfile.TemporaryDirectory() as scratch:
        for index, (part, extra) in enumerate(((wheels, _WHEELS_ONLY), (sources, _FROM_SOURCE))):
            if part:
                path = Path(scratch) / f"{index}.txt"
                path.write_text(part, encoding="utf-8")
                run(python, *_PIP, *extra, "-r", str(path))


_FROM_SOURCE: Final = ("--require-hashes", "--no-deps", "--no-build-isolation")


def _split(lock: str) -> tuple[str, str]:
    """Return the requirements that are wheels, and those that the lock says are source."""
    said = re.search(r"^# source: (.+)$", lock, re.MULTILINE)
    from_source = set(said[1].split()) if said else set()
    parts: dict[bool, list[str]] = {True: [], False: []}
    is_source = False
    for line in lock.splitlines(keepends=True):
        if line[:1].isalnum():
            is_source = line.partition("==")[0] in from_source
        parts[is_source].append(line)
    return "".join(parts[False]), "".join(parts[True])


def _environment() -> dict[str, str]:
    """Return the environment for pip: this machine's, without what belongs to our own venv."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYENV_VERSION")
    }


@contextmanager
def _alone(venv: str) -> Iterator[None]:
    """Let nobody else make the same environment at the same time."""
    place = _ROOT / "build"
    place.mkdir(exist_ok=True)
    with (place / f".venv-soar-{venv}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _version_of(interpreter: str) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run(
            [interpreter, "-c", code], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _glob(directory: Path, pattern: str) -> list[Path]:
    try:
        return list(directory.glob(pattern))
    except OSError:
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _last_line(exc: subprocess.CalledProcessError) -> str:
    # pip first lists what it passed over, and says last what it lacks.
    lines = [line for line in (exc.stderr or exc.stdout or "").splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line] or lines
    return errors[-1].strip()[:300] if errors else f"exit code {exc.returncode}"


def _say(text: str) -> None:
    # pytest captures stdout and stderr; whoever waits a minute must see why.
    print(text, file=sys.__stderr__, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
