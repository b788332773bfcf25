# SPDX-License-Identifier: Apache-2.0
"""The shape of the repository and of what is shipped: the floors nobody may widen by accident."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FOLDERS = {".ci", "deploy", "proto", "sidecar", "soar_actions", "tests"}
FILES = {
    ".gitattributes",
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "pyproject.toml",
    "requirements-build.lock",
    "requirements-dev.lock",
    "requirements-gen.lock",
    "requirements-node.lock",
    "requirements.lock",
}
LOCKS = sorted(ROOT.glob("*.lock"))
REQUIREMENT = re.compile(r"^[a-z0-9][a-z0-9.-]*==[0-9][a-z0-9.]*(?: ; [^\\]+)?$")
HASH = re.compile(r"^ {4}--hash=sha256:[0-9a-f]{64}$")


def _versioned_files() -> list[str]:
    """Return the files that are, or would be, under version control."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git and a checkout")
    return [name for name in listing.stdout.split("\0") if name and (ROOT / name).exists()]


def test_there_is_no_other_top_level_folder_or_file() -> None:
    """What lies at the top of the repository is decided in one place: here."""
    names = _versioned_files()

    folders = {name.split("/", 1)[0] for name in names if "/" in name}
    files = {name for name in names if "/" not in name}

    assert folders <= FOLDERS
    assert files <= FILES


def test_proto_holds_no_python() -> None:
    """``proto`` is also an installed Python package's name, so ours must never be importable."""
    names = [name for name in _versioned_files() if name.startswith("proto/")]

    python = [name for name in names if name.endswith((".py", ".pyi", "py.typed"))]

    assert any(name.endswith(".proto") for name in names)
    assert python == []


def _lock_faults(text: str) -> list[str]:
    """Return what is wrong with a requirements lock."""
    faults = []
    requirements = 0
    hashes = 0
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.removesuffix(" \\").rstrip()
        if "://" in line or re.search(r"--(?:extra-)?index-url|--find-links|--trusted-host", line):
            faults.append(f"line {number}: an address")
        elif HASH.fullmatch(bare):
            hashes += 1
        elif REQUIREMENT.fullmatch(bare):
            if requirements and not hashes:
                faults.append(f"line {number}: the requirement before it has no hash")
            requirements, hashes = requirements + 1, 0
        elif bare and not bare.lstrip().startswith("#"):
            faults.append(f"line {number}: neither a pinned requirement nor a hash")
    if not requirements or not hashes:
        faults.append("no pinned requirement with a hash at its end")
    return faults


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_locks_pin_versions_and_hashes_and_name_no_address(lock: Path) -> None:
    """A lock says what is installed; from where is the business of the machine that installs."""
    faults = _lock_faults(lock.read_text(encoding="utf-8"))

    assert faults == []


@pytest.mark.parametrize(
    "extra",
    [
        "--index-url https://packages.example/simple",
        "--find-links /wheels",
        "evil @ https://packages.example/evil.whl",
        "evil",
        "evil>=1",
        "evil==1",
    ],
)
def test_locks_negative_control(extra: str) -> None:
    """Each thing that a lock may not hold is found when it is put there."""
    good = "# made by make lock\ngood==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n"

    assert _lock_faults(good) == []
    assert _lock_faults(good + extra + "\n") != []


def test_the_locks_agree_with_each_other() -> None:
    """What is tested is what is shipped: the development lock repeats the other locks' versions."""

    def pins(name: str) -> set[str]:
        text = (ROOT / name).read_text(encoding="utf-8")
        return set(re.findall(r"^([a-z0-9][^ ;\\]*==[^ ;\\]+)", text, re.MULTILINE))

    development = pins("requirements-dev.lock")

    assert pins("requirements.lock") <= development
    assert pins("requirements-build.lock") <= development


def test_the_npm_lock_pins_hashes_and_names_no_address() -> None:
    """buf comes from wherever this machine's npm gets packages, and is checked by its hash."""
    text = (ROOT / "proto" / "package-lock.json").read_text(encoding="utf-8")

    packages = {name: entry for name, entry in json.loads(text)["packages"].items() if name}

    assert "://" not in text
    assert "resolved" not in text
    assert packages
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())


# --- the wheel -----------------------------------------------------------------------------------

needs_hatchling = pytest.mark.skipif(
    find_spec("hatchling") is None, reason="hatchling is not installed (make test installs it)"
)
CACHES = shutil.ignore_patterns("__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache")


def _source_copy(target: Path) -> Path:
    """Copy what the wheel is built from, so that the build leaves nothing in the checkout."""
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md"):
        shutil.copy(ROOT / name, target)
    for name in ("sidecar", "soar_actions", "deploy/examples"):
        shutil.copytree(ROOT / name, target / name, ignore=CACHES)
    return target


def _build_wheel(source: Path, out: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (wheel,) = out.glob("*.whl")
    return wheel


def _foreign(names: list[str]) -> list[str]:
    """Return what does not belong into our wheel."""
    allowed = re.compile(r"(?:sidecar|soar_actions|holdfast-[0-9][^/]*\.dist-info)/")
    litter = re.compile(r"/(?:__pycache__|\.[^/]*)/|/tests?/.*\.py$|\.(?:pem|key|proto|db)$")
    return [name for name in names if not allowed.match(name) or litter.search(name)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    source = _source_copy(tmp_path_factory.mktemp("source"))
    return _build_wheel(source, tmp_path_factory.mktemp("wheel"))


@needs_hatchling
def test_the_wheel_holds_our_two_packages_and_nothing_else(wheel: Path) -> None:
    """No test, no cache, no key, and no top-level package that belongs to somebody else."""
    names = zipfile.ZipFile(wheel).namelist()

    foreign = _foreign(names)

    assert foreign == []
    assert {
        "sidecar/__init__.py",
        "sidecar/py.typed",
        "sidecar/api/v1/guard_pb2_grpc.py",
        "sidecar/_data/agentdojo/bundle/tools.yaml",
        "soar_actions/__init__.py",
        "soar_actions/py.typed",
    } <= set(names)


@needs_hatchling
def test_the_wheel_asks_an_agent_for_grpcio_and_protobuf_only(wheel: Path) -> None:
    """The SDK lives in other people's processes, so what it drags in is part of its contract."""
    archive = zipfile.ZipFile(wheel)
    (path,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]

    metadata = archive.read(path).decode()
    required = re.findall(r"^Requires-Dist: ([A-Za-z0-9_-]+)(?![^\n]*extra ==)", metadata, re.M)

    assert sorted(required) == ["grpcio", "protobuf"]


@needs_hatchling
def test_the_wheel_works_without_the_source(wheel: Path, tmp_path: Path) -> None:
    """Both packages import from the installed wheel with the checkout nowhere in sight."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import sidecar, soar_actions, sidecar.api.v1.guard_pb2_grpc\n"
        "print(sidecar.__file__); print(soar_actions.__file__)"
    )

    result = subprocess.run(
        [sys.executable, "-P", "-c", program, str(tmp_path)],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )

    assert all(line.startswith(str(tmp_path)) for line in result.stdout.splitlines())


@needs_hatchling
def test_the_wheel_negative_control(tmp_path: Path) -> None:
    """A third package in the build is found, and so are a test, a cache and a key."""
    source = _source_copy(tmp_path)
    settings = source / "pyproject.toml"
    text = settings.read_text(encoding="utf-8")
    widened = text.replace(
        'packages = ["sidecar", "soar_actions"]', 'packages = ["sidecar", "google"]'
    )
    settings.write_text(widened, encoding="utf-8")
    (source / "google").mkdir()
    (source / "google" / "__init__.py").write_text("", encoding="utf-8")

    names = zipfile.ZipFile(_build_wheel(source, tmp_path / "out")).namelist()

    assert widened != text
    assert _foreign(names) == ["google/__init__.py"]
    assert len(_foreign(["sidecar/tests/x.py", "sidecar/.mypy_cache/x", "sidecar/server.key"])) == 3
