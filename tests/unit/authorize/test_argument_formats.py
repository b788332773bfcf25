# SPDX-License-Identifier: Apache-2.0
"""Files and programs in arguments: from ``tools.yaml`` through the pipeline to the permit."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

import sidecar.arguments
import sidecar.policy.arguments
from sidecar.arguments import FormatRules, check_path
from sidecar.audit.log import AuditLog
from sidecar.audit.outcomes import OutcomeJoiner
from sidecar.audit.redaction import Redactor
from sidecar.authorize.cache import DecisionCache
from sidecar.authorize.limits import Throttle
from sidecar.authorize.pipeline import Pipeline
from sidecar.authorize.question import Question
from sidecar.authorize.record import Recorder
from sidecar.authorize.world import PolicyInForce, World
from sidecar.canonical import CallParser
from sidecar.clock import ManualClock, SystemClock
from sidecar.containment.events import Contained
from sidecar.containment.machine import ContainmentState
from sidecar.documents import DocumentErrors
from sidecar.gate.convert import decision_message
from sidecar.gate.policies import PolicyBuilder
from sidecar.ids import SequentialIds
from sidecar.model import (
    NO_OBLIGATIONS,
    AgentId,
    Decision,
    Directive,
    Effect,
    Level,
    Reason,
    ReasonCode,
    Target,
    TargetKind,
)
from sidecar.policy.bundle import Bundle, load_bundle, load_bundle_from_files
from sidecar.policy.fields import _path_root
from sidecar.sdk import Denied, Permit
from sidecar.sdk._wire import decision_of
from sidecar.shape import ShapeError
from sidecar.tokens.revocations import RevocationSet
from tests.support.desk import ScriptedDesk

AGENT = AgentId("worker")
POLICIES = """
@id("all") permit (principal, action in [Action::"file", Action::"files", Action::"run",
                                         Action::"fetch", Action::"plain"], resource);
@id("ask") @hold("Somebody must look.") permit (principal, action == Action::"ask", resource);
"""
TOOLS = """\
version: 1
tools:
  file:
    class: read
    path_roots: [{root}/data]
    arguments:
      type: object
      properties: {{path: {{type: string, format: holdfast-path}}}}
      required: [path]
  files:
    class: read
    path_roots: [{root}/data, {root}/more]
    arguments:
      type: object
      properties:
        paths: {{type: array, items: {{type: string, format: holdfast-path}}}}
        maybe: {{anyOf: [{{type: string, format: holdfast-path}}, {{type: "null"}}]}}
        where:
          type: object
          properties: {{path: {{type: [string, "null"], format: holdfast-path}}}}
  run:
    class: write
    arguments:
      type: object
      properties: {{argv: {{type: array, items: {{type: string}}, format: holdfast-argv}}}}
      required: [argv]
  ask:
    class: write
    arguments:
      type: object
      properties: {{argv: {{type: array, items: {{type: string}}, format: holdfast-argv}}}}
      required: [argv]
  fetch:
    class: read
    destination: {{argument: host, kind: host}}
    arguments:
      type: object
      properties:
        host: {{type: string}}
        argv: {{type: array, items: {{type: string}}, format: holdfast-argv}}
      required: [host, argv]
  plain:
    class: read
    arguments: {{type: object, properties: {{path: {{type: string}}}}}}
"""


def files_of(tools: str) -> dict[str, bytes]:
    """Return a bundle's files."""
    return {
        "tools.yaml": tools.encode(),
        "agents.yaml": b"version: 1\nagents:\n  worker: {owner: o@example.com}\n",
        "operators.yaml": b"version: 1\noperators: {}\n",
        "policies/all.cedar": POLICIES.encode(),
    }


def write_bundle(directory: Path, root: Path) -> Bundle:
    """Write the bundle for the files below *root* and load it as everybody does."""
    for path, data in files_of(TOOLS.format(root=root)).items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    return load_bundle(directory)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a real directory with data, programs, and links to both."""
    root = tmp_path.resolve()
    (root / "data" / "inner").mkdir(parents=True)
    (root / "more").mkdir()
    (root / "database").mkdir()
    (root / "data" / "file").write_text("x")
    (root / "database" / "file").write_text("x")
    (root / "secret").write_text("canary")
    (root / "data" / "link").symlink_to(root / "secret")
    (root / "data" / "up").symlink_to(root)
    (root / "data" / "self").symlink_to(root / "data")
    os.mkfifo(root / "data" / "pipe")
    (root / "bin").mkdir()
    for name in ("tool", "tool ", "other"):
        program(root / "bin" / name)
    (root / "bin" / "link").symlink_to("tool")
    (root / "linked-bin").symlink_to("bin")
    (root / "bin" / "text").write_text("no program")
    program(root / "bin" / "open").chmod(0o777)
    return root


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    """Write an executable file."""
    path.write_text(text)
    path.chmod(0o755)
    return path


class OneWorld:
    """A source of one world, which never becomes stale."""

    def __init__(self, world: World) -> None:
        self.world = world

    def current(self) -> World:
        return self.world

    def is_current(self, world: World) -> bool:
        return world is self.world

    def staleness(self) -> Reason | None:
        return None


class OneAddress:
    """Resolves every name to the same public address."""

    async def resolve(self, host: str) -> tuple[str, ...]:
        return ("93.184.215.14",)


class Rig:
    """A real pipeline over a real bundle and log; only the latch and DNS are left out."""

    def __init__(self, policy: PolicyInForce, audit: AuditLog) -> None:
        clock = SystemClock()
        self.worlds = OneWorld(
            World(
                epoch=1,
                containment=ContainmentState.empty(),
                revocations=RevocationSet.empty(),
                policy=policy,
                blocker=None,
            )
        )
        self.pipeline = Pipeline(
            worlds=self.worlds,
            parser=CallParser(),
            cache=DecisionCache(max_entries=100, clock=clock),
            throttle=Throttle(),
            resolver=OneAddress(),
            desk=ScriptedDesk(),
            recorder=Recorder(
                audit=audit, redactor=Redactor(bytes(32)), joiner=OutcomeJoiner(), clock=clock
            ),
            audit=audit,
            clock=clock,
            ids=SequentialIds(),
        )

    async def ask(self, tool: str, **arguments: Any) -> Decision:
        """Return the decision about one call."""
        return await self.pipeline.authorize(
            Question(AGENT, tool, json.dumps(arguments).encode(), "s")
        )

    async def denied(self, tool: str, **arguments: Any) -> str:
        """Check that the call is denied by the registry step and return the sentence."""
        decision = await self.ask(tool, **arguments)
        assert decision.effect is Effect.DENY, arguments
        assert decision.reasons[0].code is ReasonCode.SCHEMA, decision.reasons
        assert decision.obligations is NO_OBLIGATIONS
        return decision.reasons[0].text

    async def allowed(self, tool: str, **arguments: Any) -> Decision:
        """Check that the call is allowed and return the decision."""
        decision = await self.ask(tool, **arguments)
        assert decision.effect is Effect.ALLOW, decision.reasons
        return decision


@asynccontextmanager
async def running(root: Path) -> AsyncIterator[Rig]:
    """Load the bundle, build the policy as a gate does, and open a log."""
    bundle = write_bundle(root / "bundle", root)
    builder = PolicyBuilder(clock=ManualClock(), restore=lambda limiter: None)
    policy = await builder.build(bundle.files)
    audit = AuditLog.open(
        root / "audit",
        origin="holdfast.test/gate/formats",
        signing_key=Ed25519PrivateKey.generate(),
        clock=SystemClock(),
    )
    try:
        yield Rig(policy, audit)
    finally:
        await audit.aclose()
        await builder.aclose()


# -- A12: files ---------------------------------------------------------------------------------

GOOD_PATHS = ("data", "data/file", "data/inner", "data/new", "data/inner/new/deep")
BAD_PATHS = (
    "data/../secret",
    "data//file",
    "data/./file",
    "data/file/",
    "data/%2e%2e/secret",
    "data/%252e%252e/secret",
    "data/inner%2f..%2ffile",
    "data\\..\\secret",
    "data/file\n",
    "data/link",
    "data/up/secret",
    "data/up/data/file",
    "data/self/file",
    "data/self/new",
    "data/pipe",
    "data/file/below",
    "DATA/file",
    "database/file",
    "secret",
    "",
)


async def test_a12_a_path_is_its_own_real_path_below_a_root(root: Path) -> None:
    """What spells a file below the root the shortest way is allowed; every detour is denied."""
    async with running(root) as rig:
        for good in GOOD_PATHS:
            decision = await rig.allowed("file", path=f"{root}/{good}")
            assert decision.obligations is NO_OBLIGATIONS
        for bad in (f"{root}/{bad}" for bad in BAD_PATHS):
            text = await rig.denied("file", path=bad)
            assert str(root) not in text
            assert "secret" not in text
        for bad in (
            "file",
            "/",
            "/etc/passwd",
            f"/proc/self/root{root}/data/file",
            f" {root}/data",
        ):
            await rig.denied("file", path=bad)
        nul = await rig.ask("file", path=f"{root}/data/file\0")
        assert nul.reasons[0].code is ReasonCode.MALFORMED  # no JSON of ours has one
        await rig.allowed("plain", path=f"{root}/data/link")


async def test_a12_paths_are_checked_wherever_the_schema_says(root: Path) -> None:
    """In arrays, objects and alternatives, below any of the roots; null has no path."""
    good, more, bad = f"{root}/data/file", f"{root}/more/new", f"{root}/data/link"
    async with running(root) as rig:
        await rig.allowed("files")
        await rig.allowed("files", paths=[good, more], maybe=None, where={"path": None})
        await rig.allowed("files", maybe=more, where={"path": good})
        await rig.denied("files", paths=[good, bad])
        await rig.denied("files", maybe=bad)
        await rig.denied("files", where={"path": bad})


async def test_a12_a_cached_verdict_does_not_spare_the_look(root: Path) -> None:
    """The policy's verdict comes from the cache; a link that appeared since is still seen."""
    path = root / "data" / "file"
    async with running(root) as rig:
        await rig.allowed("file", path=str(path))
        assert (await rig.allowed("file", path=str(path))).is_cached
        path.unlink()
        path.symlink_to(root / "secret")

        assert "symbolic link" in await rig.denied("file", path=str(path))


async def test_a12_negative_control(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rules taken out, every one of these paths is allowed: nothing else stops them."""
    async with running(root) as rig:
        policy = rig.worlds.world.policy
        assert policy is not None
        rig.worlds.world = replace(rig.worlds.world, policy=replace(policy, formats={}))

        for bad in BAD_PATHS:
            await rig.allowed("file", path=f"{root}/{bad}")


# -- A11: programs ------------------------------------------------------------------------------


async def test_a11_a_program_is_a_file_and_its_identity_is_an_obligation(root: Path) -> None:
    """The answer says which file the program is; words, links and other files are denied."""
    tool = root / "bin" / "tool"
    status = tool.stat()
    async with running(root) as rig:
        decision = await rig.allowed("run", argv=[str(tool), "-c", "rm -rf /; $(x)"])

        (found,) = decision.obligations.executables
        assert (found.path, found.device, found.inode) == (str(tool), status.st_dev, status.st_ino)
        assert (found.change_time_ns, found.sha256) == (status.st_ctime_ns, "")
        for bad in ("bin/tool ", "bin/link", "linked-bin/tool", "bin/text", "bin/open", "bin/none",
                    "bin", "bin/tool/", "bin/../bin/tool", "bin//tool", "bin/tool\t"):  # fmt: skip
            assert str(root) not in await rig.denied("run", argv=[f"{root}/{bad}"])
        for words in (
            [],
            ["tool"],
            ["./tool"],
            ["sh", "-c", "x"],
            [f" {tool}"],
            [str(tool), 5],
        ):
            await rig.denied("run", argv=words)


async def test_a11_holds_and_network_tools_carry_the_identity_too(root: Path) -> None:
    """Neither a hold, by policy or by a directive, nor pinned addresses push it out."""
    argv = [str(root / "bin" / "tool")]
    directive = Directive(
        epoch=2,
        target=Target(kind=TargetKind.ALL),
        level=Level.HOLD,
        reason="drill",
        author="alice",
        create_time_ns=0,
    )
    async with running(root) as rig:
        held = await rig.ask("ask", argv=argv)
        fetched = await rig.allowed("fetch", host="example.com", argv=argv)
        rig.worlds.world = replace(
            rig.worlds.world,
            containment=ContainmentState.empty().apply_all([Contained(directive=directive)]),
        )
        contained = await rig.ask("run", argv=argv)

    assert (held.effect, held.obligations.hold_reason) == (Effect.HOLD, "Somebody must look.")
    assert fetched.obligations.addresses == ("93.184.215.14",)
    assert (contained.effect, contained.obligations.hold_reason) == (Effect.HOLD, "drill")
    for decision in (held, fetched, contained):
        assert [found.path for found in decision.obligations.executables] == argv


def swap_by_rename(path: Path) -> None:
    program(path.with_name("fresh"), "#!/bin/sh\necho evil\n").rename(path)


def delete_and_write(path: Path) -> None:
    """On many file systems the new file gets the inode of the old one."""
    path.unlink()
    program(path, "#!/bin/sh\necho evil\n")


def overwrite(path: Path) -> None:
    path.write_text("#!/bin/sh\necho evil\n")


def swap_by_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("other")


@pytest.mark.parametrize(
    "attack", [swap_by_rename, delete_and_write, overwrite, swap_by_link, Path.unlink]
)
async def test_a11_a_mismatch_at_use_is_denied_to_the_agent(
    root: Path, attack: Callable[[Path], None]
) -> None:
    """Over the wire the permit still knows the program, and refuses another one."""
    path = root / "bin" / "tool"
    reports: list[Any] = []
    async with running(root) as rig:
        decision = await rig.allowed("run", argv=[str(path)])
    received = decision_of(decision_message(decision), now_ns=decision.valid_until_ns - 1)
    permit = Permit(received, report=lambda *report, **_: reports.append(report))
    permit.verify_executables()

    attack(path)

    with pytest.raises(Denied) as caught:
        permit.verify_executables()
    assert caught.value.decision.is_local
    assert [str(result) for _, result in reports] == ["CANCELLED"]


async def test_a11_negative_control(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rules taken out, any word runs and no identity is bound."""
    monkeypatch.setattr(FormatRules, "__bool__", lambda self: False)
    async with running(root) as rig:
        for bad in ("tool", f"{root}/bin/link", f"{root}/bin/open", f"{root}/bin/none"):
            decision = await rig.allowed("run", argv=[bad])
            assert decision.obligations is NO_OBLIGATIONS


# -- what both share ----------------------------------------------------------------------------


async def test_a_failure_of_the_look_is_a_denial(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the check raises, the call is denied and the sentence says nothing of it."""

    def fail(self: FormatRules, *_: object, **__: object) -> None:
        raise OSError("disk of canary")

    async with running(root) as rig:
        monkeypatch.setattr(FormatRules, "check", fail)
        decision = await rig.ask("file", path=f"{root}/data/file")
        await rig.allowed("plain", path="x")

    assert decision.effect is Effect.DENY
    assert decision.reasons[0].code is ReasonCode.INTERNAL
    assert "canary" not in decision.reasons[0].text


async def test_only_tools_with_formats_pay(root: Path) -> None:
    """A gate keeps rules for those tools alone, and a schema mismatch comes before the disk."""
    async with running(root) as rig:
        policy = rig.worlds.world.policy
        assert policy is not None
        assert set(policy.formats) == {"file", "files", "run", "ask", "fetch"}
        assert "of type string" in await rig.denied("file", path=5)


async def test_a_contained_agent_learns_nothing_of_the_disk(root: Path) -> None:
    """Containment answers before any path is looked at."""
    directive = Directive(
        epoch=2,
        target=Target(kind=TargetKind.AGENT, agent=AGENT),
        level=Level.KILL,
        reason="drill",
        author="alice",
        create_time_ns=0,
    )
    async with running(root) as rig:
        rig.worlds.world = replace(
            rig.worlds.world,
            containment=ContainmentState.empty().apply_all([Contained(directive=directive)]),
        )
        codes = {
            (await rig.ask("file", path=f"{root}/{name}")).reasons[0].code
            for name in (*GOOD_PATHS, *BAD_PATHS)
        }

    assert codes == {ReasonCode.KILLED}


# -- bundles ------------------------------------------------------------------------------------


def one_tool(argument: str, more: str = "") -> str:
    """Return a ``tools.yaml`` with a tool ``x`` that takes *argument* as ``p``."""
    names = ["file", "files", "run", "ask", "fetch", "plain"]
    others = "".join(f"  {name}: {{class: read}}\n" for name in names)
    return (
        f"version: 1\ntools:\n{others}  x:\n    class: read\n{more}"
        f"    arguments: {{type: object, properties: {{p: {argument}}}}}\n"
    )


ROOTS = "    path_roots: [/srv/data]\n"
STRING = "{type: string, format: holdfast-path}"


@pytest.mark.parametrize(
    ("argument", "more", "words"),
    [
        (STRING, "", "tools.x.path_roots: is missing: an argument has the format holdfast-path"),
        (STRING, "", "below which it may lie: `path_roots: [/srv/data]`"),
        (STRING, "    path_roots: []\n", "tools.x.path_roots: is missing"),
        (f"{{type: array, items: {STRING}}}", "", "path_roots: is missing"),
        (f"{{anyOf: [{STRING}]}}", "", "path_roots: is missing"),
        (f"{{type: object, properties: {{q: {STRING}}}}}", "", "path_roots: is missing"),
        ("{type: string}", ROOTS, "path_roots: means nothing for a tool without an argument"),
        ("{type: string}", "    path_roots: []\n", "path_roots: means nothing"),
        (
            "{type: array, items: {type: string}, format: holdfast-argv}",
            ROOTS,
            "tools.yaml:11: tools.x.path_roots: means nothing",
        ),
        (STRING, "    path_roots: [srv]\n", 'path_roots[0]: "srv" is not the path of a directory'),
        (STRING, "    path_roots: [/srv/]\n", "a slash at the end"),
        (STRING, "    path_roots: [/srv, /a//b]\n", "path_roots[1]"),
        (STRING, "    path_roots: [/srv/../etc]\n", "is not the path of a directory"),
        (STRING, "    path_roots: [/srv/./x]\n", "is not the path of a directory"),
        (STRING, "    path_roots: ['/srv/%2e']\n", "is not the path of a directory"),
        (STRING, "    path_roots: ['/srv\\x']\n", "is not the path of a directory"),
        (STRING, '    path_roots: ["/srv/\\n"]\n', "is not the path of a directory"),
        (STRING, f"    path_roots: [/{'ä' * 128}]\n", "is not the path of a directory"),
        (STRING, "    path_roots: ['']\n", "is not the path of a directory"),
        (STRING, "    path_roots: /srv\n", "should be a valid list"),
        (STRING, "    path_roots: [5]\n", "should be a valid string"),
        ("{type: string, format: holdfast-argv}", ROOTS, "argv does not apply to this type"),
        ("{type: integer, format: holdfast-path}", ROOTS, "write `type: string`"),
        ("{type: [string, integer], format: holdfast-path}", ROOTS, "path does not apply"),
        (
            "{type: array, items: {type: integer}, format: holdfast-argv}",
            "",
            "p.format: a command is a list of words",
        ),
        ("{type: array, format: holdfast-argv}", "", "does not say what the array holds"),
        ("{type: string, format: holdfast-pth}", ROOTS, '"format" is not supported'),
        ("{type: string, format: uri}", "", '"format" is not supported'),
        ("{type: string, format: [holdfast-path]}", "", '"format" is not supported'),
        (f"{{anyOf: [{STRING}], format: holdfast-path}}", ROOTS, "cannot stand beside anyOf"),
    ],
)
def test_bad_formats_and_roots_are_refused(argument: str, more: str, words: str) -> None:
    """Each fault is named with its place and a remedy, when the bundle is loaded."""
    with pytest.raises(DocumentErrors) as caught:
        load_bundle_from_files(files_of(one_tool(argument, more)))

    problems = "\n".join(map(str, caught.value.all))
    assert words in problems
    assert all(problem.path == "tools.yaml" and problem.line for problem in caught.value.all)


@pytest.mark.parametrize(
    ("argument", "more", "roots", "has_rules"),
    [
        (STRING, ROOTS, ("/srv/data",), True),
        (STRING, "    path_roots: [/, '/a b', '/ä']\n", ("/", "/a b", "/ä"), True),
        ("{type: array, items: {type: string}, format: holdfast-argv}", "", (), True),
        ("{type: string}", "", (), False),
        ("{type: string, enum: [a], const: {format: holdfast-path, type: string}}", "", (), False),
        ("{type: string, examples: [{format: holdfast-path}]}", "", (), False),
        ("{type: object, properties: {format: {type: string}}}", "", (), False),
        ("{type: object, properties: {format: " + STRING + "}}", ROOTS, ("/srv/data",), True),
    ],
)
def test_whatever_loads_can_be_put_in_force(
    argument: str, more: str, roots: tuple[str, ...], has_rules: bool
) -> None:
    """A bundle that control takes has rules that a gate can build."""
    tool = load_bundle_from_files(files_of(one_tool(argument, more))).tools["x"]

    assert tool.path_roots == roots
    assert bool(FormatRules.of(tool.arguments_schema)) is has_rules


def test_the_names_of_the_formats_are_the_same_on_both_sides() -> None:
    """The components do not import each other, so this holds them together."""
    assert sidecar.policy.arguments.PATH_FORMAT == sidecar.arguments.PATH_FORMAT
    assert sidecar.policy.arguments.ARGV_FORMAT == sidecar.arguments.ARGV_FORMAT


def _components() -> Iterator[st.SearchStrategy[str]]:
    yield st.text(max_size=6)
    yield st.sampled_from(["", ".", "..", "a", "%2e", "%", "\\", " ", "\x85", "\u2028", "ä" * 200])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(*_components()), max_size=4).map(lambda parts: "/".join(["", *parts])))
def test_a_root_that_loads_is_a_root_for_the_check(root: str) -> None:
    """No root passes the bundle and then fails at every call."""
    try:
        _path_root(root)
    except ValueError:
        return

    with pytest.raises(ShapeError):  # and no ValueError, which a bad root would raise
        check_path("relative", roots=[root])


def test_default_tools_have_neither_formats_nor_roots(root: Path) -> None:
    """A tool that says nothing of files has no rule and no root."""
    tools: Mapping[str, Any] = write_bundle(root / "bundle", root).tools

    assert tools["plain"].path_roots == ()
    assert not FormatRules.of(tools["plain"].arguments_schema)
