# SPDX-License-Identifier: Apache-2.0
"""K01, K02, K09: a process that finds something wrong does not start, and says what and where."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.clients import refused
from tests.support.processes import Process, Zygote
from tests.support.testbed import Testbed

Make = Callable[..., Testbed]
UNSAFE = 1
"""Exit code of what a person must repair on the machine."""
WRONG = 2
"""Exit code of what a person wrote wrongly."""


async def _ends(process: Process) -> tuple[int, str]:
    code = await asyncio.to_thread(process.wait)
    said = [line for line in process.tail(8000).splitlines() if not line.startswith("{")]
    return code, "\n".join(said)


# -- K01 ------------------------------------------------------------------------------------------


def _readable(path: Path) -> None:
    path.chmod(0o644)


def _linked(path: Path) -> None:
    path.rename(path.with_name("real"))
    path.symlink_to(path.with_name("real"))


def _foreign(path: Path) -> None:
    os.chown(path, 65534, 65534)


def _open_directory(path: Path) -> None:
    path.parent.chmod(path.parent.stat().st_mode | 0o002)


_TAMPERINGS = [_readable, _linked, _foreign, _open_directory]


@pytest.fixture(scope="module")
def stopped(zygote: Zygote, authority: Authority) -> Iterator[Testbed]:
    """A host that ran once and is down: its keys are there."""
    bed = Testbed(zygote, authority)
    try:
        bed.begin(["alpha"])
        bed.gates["gate"].stop()
        assert bed.control is not None
        bed.control.stop()
        yield bed
    finally:
        bed.close()


@pytest.mark.parametrize(
    ("which", "tamper"),
    [
        pytest.param(which, tamper, id=f"{which}-{tamper.__name__.strip('_')}")
        for which in ("signing key", "tls key", "gate key", "redaction key", "latch")
        for tamper in _TAMPERINGS
        # The latch holds no secret: that others may read it is no danger.
        if (which, tamper) != ("latch", _readable)
    ],
)
async def test_k01_file_that_others_could_have_touched_is_refused(
    stopped: Testbed, tmp_path: Path, which: str, tamper: Callable[[Path], None]
) -> None:
    """0644, a symlink, another owner, a directory that others can write: no start, and it says so."""
    if tamper is _foreign and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    layout = stopped.layout
    path = {
        "signing key": layout.signing_key,
        "tls key": stopped.root / "server.key",
        "gate key": layout.gate_key("gate"),
        "redaction key": layout.gate("gate") / "redaction.key",
        "latch": layout.latch / "slots",
    }[which]
    kept = tmp_path / "kept"
    shutil.copy2(path, kept)
    modes = {place: stat.S_IMODE(place.stat().st_mode) for place in (path, path.parent)}
    tamper(path)
    try:
        is_gate = which in {"gate key", "redaction key"}
        process = stopped.launch_gate(["alpha"]) if is_gate else stopped.launch_control()
        code, said = await _ends(process)
    finally:
        path.with_name("real").unlink(missing_ok=True)
        path.unlink()
        path.parent.chmod(modes[path.parent])
        shutil.copy2(kept, path)

    assert code == UNSAFE, said
    named = path.parent if tamper is _open_directory else path
    assert str(named) in said, said


async def test_k01_untouched_host_starts_negative_control(stopped: Testbed) -> None:
    """What is refused above is refused for the tampering: put back, the same host starts."""
    control = stopped.launch_control()
    stopped.launch_gate(["alpha"])
    await asyncio.to_thread(stopped.wait_control)
    await asyncio.to_thread(stopped.wait_gate, "alpha")
    stopped.gates["gate"].stop()

    assert control.stop() == 0


# -- K02: the bundle ------------------------------------------------------------------------------


def _insert(name: str, after: str, line: str) -> Callable[[Path], None]:
    def change(bundle: Path) -> None:
        path = bundle / name
        lines = path.read_text().splitlines()
        at = next(number for number, found in enumerate(lines) if found.strip() == after)
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        lines.insert(at + 1, indent + line)
        path.write_text("\n".join(lines) + "\n")

    return change


def _replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(bundle: Path) -> None:
        path = bundle / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


def _write(name: str, text: str) -> Callable[[Path], None]:
    def change(bundle: Path) -> None:
        (bundle / name).write_text(text)

    return change


_BOMB = "version: 1\na: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nlimits: []\n"
# What is done to a good bundle, and what the refusal must name.
_BAD_BUNDLES: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "unknown key": (
        _replace("tools.yaml", "  note.read:\n", "  note.read:\n    clas: read\n"),
        ("tools.yaml:4", "clas"),
    ),
    "duplicate key": (
        _replace("agents.yaml", "  alpha:\n", "  alpha:\n    owner: x@example.com\n"),
        ("agents.yaml:5", "owner"),
    ),
    "yaml 1.1 no": (
        _replace("agents.yaml", "env: test", "env: no"),
        ("agents.yaml:8", "env"),
    ),
    "octal": (_replace("agents.yaml", "env: test", "env: 0o10"), ("agents.yaml:8", "env")),
    "underscored": (_replace("agents.yaml", "env: test", "env: 1_000"), ("agents.yaml:8", "env")),
    "date": (_replace("agents.yaml", "env: test", "env: 2026-01-01"), ("agents.yaml:8", "env")),
    "tab": (_replace("agents.yaml", "    owner", "\towner"), ("agents.yaml:4",)),
    "alias bomb": (_write("limits.yaml", _BOMB), ("limits.yaml:2",)),
    "python object": (
        _replace("agents.yaml", "env: test", "env: !!python/object/apply:os.getpid []"),
        ("agents.yaml:8",),
    ),
    "no version": (_replace("limits.yaml", "version: 1\n", ""), ("limits.yaml", "version")),
    "other version": (
        _replace("limits.yaml", "version: 1", "version: 2"),
        ("limits.yaml:1", "version"),
    ),
    "unknown role": (
        _replace("operators.yaml", "- contain", "- superuser"),
        ("operators.yaml", "superuser"),
    ),
    "unknown class": (
        _replace("tools.yaml", "class: read", "class: raed"),
        ("tools.yaml:4", "class"),
    ),
    "two documents": (_write("limits.yaml", "version: 1\nlimits: []\n---\n{}\n"), ("limits.yaml",)),
    "not utf-8": (
        lambda bundle: (
            (bundle / "limits.yaml").write_bytes(b"version: 1\nlimits: [\xff]\n") and None
        ),
        ("limits.yaml",),
    ),
    "foreign file": (_write("extra.yaml", "version: 1\n"), ("extra.yaml",)),
    "cedar syntax": (
        _replace("policies/all.cedar", "permit (principal", "permitt (principal"),
        ("policies/all.cedar:2",),
    ),
    "policy without id": (
        _replace("policies/all.cedar", '@id("read") ', ""),
        ("policies/all.cedar:2",),
    ),
    "allow everything": (
        lambda bundle: (
            (bundle / "policies" / "more.cedar").write_text(
                '@id("everything") permit (principal, action, resource);\n'
            )
            and None
        ),
        ("policies/more.cedar:1", "permits every call"),
    ),
    "empty tools": (_write("tools.yaml", ""), ("tools.yaml",)),
}


@pytest.fixture(scope="module")
def serving(zygote: Zygote, authority: Authority) -> Iterator[Testbed]:
    """A running host whose bundle these tests spoil and put right again."""
    bed = Testbed(zygote, authority)
    try:
        yield bed.begin(["alpha"])
    finally:
        bed.close()


@pytest.mark.parametrize("name", _BAD_BUNDLES)
async def test_k02_bad_bundle_is_refused_whole_and_the_old_one_stays(
    serving: Testbed, name: str
) -> None:
    """A reload names file, line and key; digest and epoch stay, and calls go on."""
    change, named = _BAD_BUNDLES[name]
    async with (
        serving.operator("carol") as carol,
        serving.operator("alice") as alice,
        serving.agent() as agent,
    ):
        before = (await agent.ask()).policy_digest, await alice.epoch()
        try:
            change(serving.bundle)
            error = await refused(carol.reload())
        finally:
            shutil.rmtree(serving.bundle)
            serving.write_bundle()
        after = (await agent.ask()).policy_digest, await alice.epoch()

    assert error.code.name == "INVALID_ARGUMENT"
    assert all(part in error.message for part in named), error.message
    assert before == after


@pytest.mark.parametrize("name", ["unknown key", "duplicate key", "cedar syntax", "python object"])
async def test_k02_control_does_not_start_with_a_bad_bundle(make_bed: Make, name: str) -> None:
    """Exit code 2, and the same words on the terminal."""
    bed = make_bed()
    change, named = _BAD_BUNDLES[name]
    change(bed.bundle)
    code, said = await _ends(bed.launch_control())

    assert code == WRONG
    assert all(part in said for part in named), said


# -- K02, K09: settings ---------------------------------------------------------------------------

_SETTINGS = {
    "unknown": ("listen: 127.0.0.1:1\nlisten_on: x\n", ("holdfast.yaml:2", "listen_on")),
    "duplicate": ("listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n", ("holdfast.yaml:2", "listen")),
    "out of bounds": ("max_staleness_s: 3600\n", ("holdfast.yaml:1", "max_staleness_s")),
    "no number": ("max_staleness_s: .nan\n", ("holdfast.yaml:1", "max_staleness_s")),
    "insecure": ("insecure: true\n", ("holdfast.yaml:1", "insecure")),
    "fail open": ("fail_open: true\n", ("holdfast.yaml:1", "fail_open")),
    "allow stale": ("max_staleness_s: 0\n", ("holdfast.yaml:1", "max_staleness_s")),
    "relative path": ("state_dir: state\n", ("holdfast.yaml:1", "state_dir")),
}


@pytest.mark.parametrize("name", _SETTINGS)
@pytest.mark.parametrize("kind", ["control", "gate"])
async def test_k02_k09_bad_settings_file_is_refused(
    zygote: Zygote, tmp_path: Path, kind: str, name: str
) -> None:
    """No setting that is not known, none that weakens, none out of bounds; file, line and key."""
    text, named = _SETTINGS[name]
    config = tmp_path / "holdfast.yaml"
    config.write_text(text)
    process = zygote.spawn(
        kind, log=tmp_path / "log", flags={}, agents=["alpha"], is_dev=False, config=config
    )
    code, said = await _ends(process)

    assert code == WRONG
    assert all(part in said for part in named), said


async def test_k01_control_without_certificates_does_not_start(make_bed: Make) -> None:
    """Outside development, control has certificates or does not start."""
    bed = make_bed()
    process = bed.launch_control(tls_certificate=None, tls_key=None, client_ca=None)
    code, said = await _ends(process)

    assert code == WRONG
    assert all(name in said for name in ("tls_certificate", "tls_key", "client_ca"))
