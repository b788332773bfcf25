# SPDX-License-Identifier: Apache-2.0
"""A bundle: the directory that says what every agent may do. Taken whole or refused whole.

Laws:

1. Loading changes nothing: a bundle that is refused leaves the one in force as it is.
2. Every problem of every file is reported at once, with file, line and key.
3. A file that looks like part of a bundle but is in no place we read is an error: a policy that is
   not loaded must not look as if it were.
4. The digest names every byte that was loaded. It is what ``sha256sum`` prints for the sorted list
   of files, hashed again::

       cd bundle && LC_ALL=C sha256sum $(files, sorted) | sha256sum

   that is, SHA-256 over one line ``<sha256 hex>  <relative path>\\n`` per file, sorted by the
   path's bytes. This format never changes; a bundle's digest is in every decision and receipt.
5. ``load_bundle_from_files(bundle.files)`` gives the same bundle, so control ships those bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

import cedarpy

from sidecar.documents import (
    MAX_BUNDLE_FILE_BYTES,
    Document,
    DocumentErrors,
    did_you_mean,
    parse_document,
    read_regular_file,
    short,
)
from sidecar.errors import DocumentError, ErrorReason
from sidecar.policy.agents import AgentSpec, parse_agents
from sidecar.policy.approval_rules import (
    DEFAULT_APPROVAL_RULES,
    ApprovalRules,
    parse_approval_rules,
)
from sidecar.policy.cases import PolicyCase, parse_cases
from sidecar.policy.cedar_text import parse_statements
from sidecar.policy.issuers import IssuerSpec, parse_issuers
from sidecar.policy.limits import LimitSpec, parse_limits
from sidecar.policy.operators import OperatorSpec, parse_operators
from sidecar.policy.policies import PolicySpec, entities_named, policy_of
from sidecar.policy.schema import cedar_schema, validate_policies
from sidecar.policy.tools import ToolSpec, parse_tools

__all__ = ["Bundle", "digest_of", "load_bundle", "load_bundle_from_files"]

T = TypeVar("T")

MAX_FILES: Final = 1_000
MAX_POLICIES: Final = 5_000
MAX_PAIRS: Final = 250_000
MAX_BUNDLE_BYTES: Final = 16 << 20

_MAX_PROBLEMS: Final = 500  # beyond that, looking for more only costs time

_REQUIRED: Final = ("tools.yaml", "agents.yaml", "operators.yaml")
_OPTIONAL: Final = ("limits.yaml", "issuers.yaml", "approvals.yaml")
_POLICY_FILE: Final = re.compile(r"policies/[A-Za-z0-9][A-Za-z0-9._-]{0,100}\.cedar", re.ASCII)
_TEST_FILE: Final = re.compile(r"tests/[A-Za-z0-9][A-Za-z0-9._-]{0,100}\.yaml", re.ASCII)
_KEY_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}\.json", re.ASCII)
_LOOKS_LIKE_OURS: Final = (".cedar", ".yaml", ".yml")
_DIRECTORIES: Final = ("policies", "tests")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """One policy version. Immutable."""

    digest: str
    files: Mapping[str, bytes] = field(repr=False)
    tools: Mapping[str, ToolSpec]
    agents: Mapping[str, AgentSpec]
    operators: Mapping[str, OperatorSpec]
    limits: tuple[LimitSpec, ...]
    issuers: Mapping[str, IssuerSpec]
    policies: tuple[PolicySpec, ...]
    tests: tuple[PolicyCase, ...]
    schema: cedarpy.Schema = field(repr=False, compare=False)
    approvals: ApprovalRules = DEFAULT_APPROVAL_RULES


def digest_of(files: Mapping[str, bytes]) -> str:
    """Return the digest of a bundle with these files (law 4)."""
    total = hashlib.sha256()
    for path in sorted(files, key=str.encode):
        total.update(f"{hashlib.sha256(files[path]).hexdigest()}  {path}\n".encode())
    return total.hexdigest()


def load_bundle(path: Path) -> Bundle:
    """Return the bundle in the directory *path*.

    Validating thousands of policies takes seconds: call it in a thread, not in an event loop.

    Raises:
        DocumentErrors: something in it is wrong; ``all`` names every problem found.
    """
    return load_bundle_from_files(_read_directory(path))


def load_bundle_from_files(files: Mapping[str, bytes]) -> Bundle:
    """Return the bundle made of *files*, a mapping from relative path to content.

    Raises:
        DocumentErrors: something in it is wrong; ``all`` names every problem found.
    """
    return _Loader(files).load()


def _read_directory(root: Path) -> dict[str, bytes]:
    """Return the files of *root* that may belong to a bundle; links and odd places are refused."""
    files: dict[str, bytes] = {}
    problems: list[DocumentError] = []
    total = 0
    for relative, entry in _walk(root):
        if not _is_candidate(relative):
            if relative.endswith(_LOOKS_LIKE_OURS):
                problems.append(_misplaced(relative))
            continue
        try:
            data = read_regular_file(entry, max_bytes=MAX_BUNDLE_FILE_BYTES, name=relative)
        except DocumentErrors as exc:
            problems += exc.all
            continue
        files[relative] = data
        total += len(data)
        if len(files) > MAX_FILES or total > MAX_BUNDLE_BYTES:
            raise _refusal(
                [DocumentError(f"has more than {MAX_FILES} files or {MAX_BUNDLE_BYTES} bytes",
                               path=str(root), hint="remove what is not policy")]
            )  # fmt: skip
    if problems:
        raise _refusal(problems)
    return files


def _walk(root: Path) -> list[tuple[str, Path]]:
    """Return (relative path, path) of every file but hidden ones; links are not followed."""
    found: list[tuple[str, Path]] = []
    pending = [("", root)]
    while pending:
        prefix, directory = pending.pop()
        for entry in _entries(directory):
            relative = prefix + entry.name
            is_ours = entry.name.endswith(_LOOKS_LIKE_OURS) or relative in _DIRECTORIES
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                pending.append((relative + "/", Path(entry.path)))
            elif entry.is_symlink() and relative in _DIRECTORIES:
                raise _refusal([_not_a_directory(relative)])
            elif is_ours or not entry.name.startswith("."):
                found.append((relative, Path(entry.path)))
        if len(found) + len(pending) > 20 * MAX_FILES:
            raise _refusal([DocumentError("holds too many files to be a bundle", path=str(root))])
    return sorted(found)


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        if not stat.S_ISDIR(os.lstat(directory).st_mode):
            raise _refusal([_not_a_directory(str(directory))])
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError as exc:
        message = f"cannot be read: {os.strerror(exc.errno or 0)}"
        raise _refusal([DocumentError(message, path=str(directory))]) from exc
    except ValueError as exc:
        raise _refusal([DocumentError("is not a path", path=str(directory))]) from exc


def _not_a_directory(path: str) -> DocumentError:
    return DocumentError(
        "is not a directory", path=path, hint="a bundle is made of directories, not links to them"
    )


def _is_candidate(path: str) -> bool:
    return path in _REQUIRED or path in _OPTIONAL or any(
        pattern.fullmatch(path) for pattern in (_POLICY_FILE, _TEST_FILE, _KEY_FILE)
    )  # fmt: skip


def _misplaced(path: str) -> DocumentError:
    near = did_you_mean(path, [*_REQUIRED, *_OPTIONAL])
    return DocumentError(
        "is in no place that a bundle reads",
        path=path,
        hint=near or "policies/*.cedar, tests/*.yaml and " + ", ".join([*_REQUIRED, *_OPTIONAL]),
    )


def _refusal(problems: list[DocumentError]) -> DocumentErrors:
    ordered = sorted(problems, key=lambda problem: (problem.path, problem.line or 0))
    return DocumentErrors(ordered, reason=ErrorReason.INVALID_BUNDLE)


class _Loader:
    """Reads one set of files, collecting problems as it goes."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = dict(files)
        self._problems: list[DocumentError] = []
        self._documents: dict[str, Document] = {}

    def load(self) -> Bundle:
        """Return the bundle, or raise everything that is wrong with it."""
        self._check_places()
        tools = self._parse("tools.yaml", parse_tools) or {}
        agents = self._parse("agents.yaml", parse_agents) or {}
        operators = self._parse("operators.yaml", parse_operators) or {}
        issuers = self._parse(
            "issuers.yaml",
            lambda document, problems: parse_issuers(document, problems, files=self._files),
        )
        approvals = self._parse(
            "approvals.yaml", lambda document, _problems: parse_approval_rules(document)
        )
        known_tools = self._names("tools.yaml", "tools")
        known_agents = self._names("agents.yaml", "agents")
        if known_tools is None or known_agents is None:  # the rest would only echo that
            raise _refusal(self._problems)
        limits = self._parse(
            "limits.yaml",
            lambda document, problems: parse_limits(
                document, problems, agents=known_agents, tools=tools, known_tools=known_tools
            ),
        )
        self._check_issuers(tools, self._names("issuers.yaml", "issuers"))
        policies = self._policies(known_tools=known_tools, known_agents=known_agents)
        cases: list[PolicyCase] = []
        for path in sorted(path for path in self._files if _TEST_FILE.fullmatch(path)):
            cases += self._parse(path, parse_cases) or ()
        self._check_cases(cases, policies)
        self._check_work(policies, tools)
        if self._problems:  # types are only worth checking once everything else holds
            raise _refusal(self._problems)
        try:
            schema = cedar_schema(tools=tools, agents=agents)
        except ValueError as exc:
            message = f"cannot be turned into a Cedar schema: {str(exc).splitlines()[0][:200]}"
            raise _refusal([DocumentError(message, path="tools.yaml")]) from exc
        if invalid := validate_policies(policies, schema, tools=tools):
            raise _refusal(invalid)
        loaded = self._loaded(issuers or {})
        return Bundle(
            digest=digest_of(loaded),
            files=MappingProxyType(loaded),
            tools=tools,
            agents=agents,
            operators=operators,
            limits=limits or (),
            issuers=issuers or MappingProxyType({}),
            policies=policies,
            tests=tuple(cases),
            schema=schema,
            approvals=approvals or DEFAULT_APPROVAL_RULES,
        )

    def _check_places(self) -> None:
        for path in _REQUIRED:
            if path not in self._files:
                self._problems.append(
                    DocumentError("is missing from the bundle", path=path, hint="create it")
                )
        for path, data in self._files.items():
            if not _is_candidate(path):
                self._problems.append(_misplaced(path))
            elif len(data) > MAX_BUNDLE_FILE_BYTES:
                self._problems.append(
                    DocumentError(f"is larger than {MAX_BUNDLE_FILE_BYTES} bytes", path=path)
                )
        total = sum(len(data) for data in self._files.values())
        if len(self._files) > MAX_FILES or total > MAX_BUNDLE_BYTES:
            self._problems.append(
                DocumentError(f"has more than {MAX_FILES} files or {MAX_BUNDLE_BYTES} bytes")
            )
        if self._problems:
            raise _refusal(self._problems)

    def _parse(self, path: str, parse: Callable[[Document, list[DocumentError]], T]) -> T | None:
        """Return what *parse* makes of the file *path*, or None if it is missing or broken."""
        data = self._files.get(path)
        if data is None:
            return None
        try:
            document = parse_document(
                data, name=path, max_bytes=MAX_BUNDLE_FILE_BYTES, problems=self._problems
            )
            self._documents[path] = document
            return parse(document, self._problems)
        except DocumentErrors as exc:
            self._problems += exc.all
            return None

    def _names(self, path: str, key: str) -> tuple[str, ...] | None:
        """Return the names that a file defines, also those that have problems of their own.

        None if the file cannot be read at all.
        """
        if path not in self._files:
            return ()
        document = self._documents.get(path)
        found = document.data.get(key) if document else None
        return tuple(found) if isinstance(found, dict) else None

    def _policies(
        self, *, known_tools: tuple[str, ...], known_agents: tuple[str, ...]
    ) -> tuple[PolicySpec, ...]:
        policies: dict[str, PolicySpec] = {}
        count = 0
        for path in sorted(path for path in self._files if _POLICY_FILE.fullmatch(path)):
            if len(self._problems) > _MAX_PROBLEMS:
                break
            try:
                statements = parse_statements(self._files[path], path=path, problems=self._problems)
            except DocumentErrors as exc:
                self._problems += exc.all
                continue
            count += len(statements)
            if count > MAX_POLICIES:
                self._problems.append(
                    DocumentError(f"the bundle has more than {MAX_POLICIES} policies", path=path)
                )
                break
            for statement in statements:
                if len(self._problems) > _MAX_PROBLEMS:
                    break
                policy = policy_of(statement, self._problems)
                if policy is None:
                    continue
                first = policies.setdefault(policy.id, policy)
                if first is not policy:
                    self._problems.append(
                        statement.error(
                            f"the id {short(policy.id)} is used at {first.place} too",
                            hint="give each policy its own @id",
                        )
                    )
                self._check_names(policy, {"Tool": known_tools, "Action": known_tools,
                                           "Agent": known_agents})  # fmt: skip
        return tuple(policies.values())

    def _check_names(self, policy: PolicySpec, known: Mapping[str, tuple[str, ...]]) -> None:
        """Refuse agents and tools that do not exist: a misspelt forbid would forbid nobody."""
        for kind, name in dict.fromkeys(entities_named(policy.tree)):
            if kind in known and name not in known[kind]:
                line = policy.text.count("\n", 0, max(policy.text.find(f'"{name}"'), 0))
                file = "agents.yaml" if kind == "Agent" else "tools.yaml"
                self._problems.append(
                    DocumentError(
                        f"policy {policy.id}: {kind}::{short(name)} is not in {file}",
                        path=policy.path,
                        line=policy.line + line,
                        hint=did_you_mean(name, known[kind]),
                    )
                )

    def _check_work(self, policies: tuple[PolicySpec, ...], tools: Mapping[str, ToolSpec]) -> None:
        """Refuse what would take minutes to validate: each policy is checked for each tool."""
        pairs = sum(
            len(tools) if policy.scope.tools is None else len(policy.scope.tools)
            for policy in policies
        )
        if pairs > MAX_PAIRS:
            self._problems.append(
                DocumentError(
                    f"{pairs} pairs of policy and tool are more than {MAX_PAIRS}",
                    path="policies",
                    hint="name tools in the heads of policies",
                )
            )

    def _check_issuers(
        self, tools: Mapping[str, ToolSpec], issuers: tuple[str, ...] | None
    ) -> None:
        if issuers is None:
            return
        for name, tool in tools.items():
            if tool.token_issuer is not None and tool.token_issuer not in issuers:
                self._problems.append(
                    self._documents["tools.yaml"].error(
                        ("tools", name, "token", "issuer"),
                        f"there is no issuer {short(tool.token_issuer)} in issuers.yaml",
                        hint=did_you_mean(tool.token_issuer, issuers),
                    )
                )

    def _check_cases(self, cases: list[PolicyCase], policies: tuple[PolicySpec, ...]) -> None:
        ids = [policy.id for policy in policies]
        for case in cases:
            if case.policy is not None and case.policy not in ids and not self._problems:
                self._problems.append(
                    DocumentError(
                        f"there is no policy {short(case.policy)}",
                        path=case.path,
                        line=case.line,
                        key="policy",
                        hint=did_you_mean(case.policy, ids),
                    )
                )

    def _loaded(self, issuers: Mapping[str, IssuerSpec]) -> dict[str, bytes]:
        """Return the files that say something: key sets that no issuer names are left out."""
        named = {issuer.jwks_file for issuer in issuers.values()}
        return {
            path: data
            for path, data in sorted(self._files.items())
            if not _KEY_FILE.fullmatch(path) or path in named
        }
