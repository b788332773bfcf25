# SPDX-License-Identifier: Apache-2.0
"""The app as Splunk SOAR installs it, and the project that it is made from.

``holdfast-splunk_soar-<version>-source.tar.gz`` is the project; ``soarapps package build`` makes the
installable archive of it, and so do we if a Python with the SDK is at hand (``SOAR_SDK_PYTHON``, or
the environment that the tests have made). The same source and the same wheels make the same bytes.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import ssl
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from soar_actions.packages.vendor import vendor

__all__ = ["VERSION", "assemble", "build", "playbook_archives", "sdk_python"]

VERSION: Final = "1.0.0"
_HERE: Final = Path(__file__).resolve().parent
_ARTEFACT: Final = _HERE / "artefact"
_EPOCH: Final = 315_532_800
"""1980-01-01: older than that, some tools refuse."""
_DEADLINE_S: Final = 540


def assemble(directory: Path) -> Path:
    """Make the app's project in *directory*, with the actions' code, and return its path."""
    app = directory / "holdfast"
    shutil.copytree(_ARTEFACT, app, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    package = app / "src" / "holdfast_actions"
    for path in vendor(package, prefix="holdfast_actions"):
        # The platform imports the app by a path of its own, so nothing in it has an absolute name.
        dots = "." * len(path.relative_to(package).parts)
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("from holdfast_actions.", f"from {dots}"), encoding="utf-8")
    readme = _HERE / "README.md"
    if readme.is_file():
        shutil.copyfile(readme, app / "README.md")
    return app


def build(destination: Path) -> list[Path]:
    """Make the archives in *destination*, and return their paths.

    The installable one is left out, loudly, where the SDK or its wheels cannot be had.
    """
    destination.mkdir(parents=True, exist_ok=True)
    source = destination / f"holdfast-splunk_soar-{VERSION}-source.tar.gz"
    made = [source]
    with tempfile.TemporaryDirectory() as scratch:
        app = assemble(Path(scratch))
        files = {
            path.relative_to(app.parent).as_posix(): path.read_bytes()
            for path in app.rglob("*")
            if path.is_file()
        }
        source.write_bytes(_packed(files))
        made += playbook_archives(destination)
        python = sdk_python()
        installable = destination / f"holdfast-splunk_soar-{VERSION}.tgz"
        if python is None:
            _say(f"{installable.name} is not made: there is no Python 3.13 with splunk-soar-sdk 7")
        elif said := _package(python, app, installable):
            _say(f"{installable.name} is not made: {said}")
        else:
            made.append(installable)
    return made


def playbook_archives(destination: Path) -> list[Path]:
    """Make one archive for each playbook, as the platform imports them."""
    made = []
    for path in sorted((_ARTEFACT / "playbooks").glob("*.py")):
        files = {each.name: each.read_bytes() for each in (path, path.with_suffix(".json"))}
        archive = destination / f"{path.stem}.tgz"
        archive.write_bytes(_packed(files))
        made.append(archive)
    return made


def sdk_python() -> Path | None:
    """Return a Python that has the SDK, if one is named or made."""
    made = _HERE.parents[2] / ".venv-soar-splunk7" / "bin" / "python"
    named = os.environ.get("SOAR_SDK_PYTHON", "")
    python = Path(named) if named else made
    return python if python.is_file() else None


def _package(python: Path, app: Path, archive: Path) -> str:
    """Have ``soarapps`` package *app*; return why it did not, or nothing."""
    beside = python.parent / "uv"
    uv = str(beside) if beside.is_file() else shutil.which("uv")
    if uv is None:
        return "there is no uv to lock the SDK's dependencies with"
    raw = app.parent / "raw.tgz"
    environment = {
        # The SDK trusts a list of its own; a registry's mirror may be of a CA that the system trusts.
        **_system_trust(),
        **os.environ,
        "UV_PYTHON": str(python),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_SYSTEM_CERTS": "1",
        # For the order of what the SDK keeps in sets.
        "PYTHONHASHSEED": "0",
    }
    for command in (
        [uv, "lock", "--quiet", "--project", str(app)],
        # -P: the SDK imports a package named `build`, and this folder has a module of that name.
        [str(python), "-P", str(_HERE / "package_app.py"), str(app), str(raw), str(_cache())],
    ):
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=_DEADLINE_S,
                check=False,
                env=environment,
                cwd=app.parent,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            return f"{Path(command[0]).name} failed ({type(exc).__name__})"
        if done.returncode:
            lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            return (lines or ["it failed without a word"])[-1][:300]
    with tarfile.open(raw) as tar:
        files = {
            member.name: content.read()
            for member in tar.getmembers()
            if (content := tar.extractfile(member)) is not None
        }
    archive.write_bytes(_packed(files))
    return ""


def _system_trust() -> dict[str, str]:
    """Return the variables that name the system's CAs to OpenSSL."""
    paths = ssl.get_default_verify_paths()
    found = {"SSL_CERT_FILE": paths.cafile, "SSL_CERT_DIR": paths.capath}
    return {name: path for name, path in found.items() if path}


def _cache() -> Path:
    place = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(place) / "holdfast" / "wheels"


def _packed(files: dict[str, bytes]) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(files[name]), _EPOCH, 0o644
            tar.addfile(member, io.BytesIO(files[name]))
    return gzip.compress(plain.getvalue(), compresslevel=9, mtime=0)


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - what is missing is said where it is built
