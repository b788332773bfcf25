# SPDX-License-Identifier: Apache-2.0
"""What stands behind ``holdfast policy check``, ``test`` and ``explain``. Prints nothing.

Laws:

1. ``check_bundle`` reports everything it finds: errors, then warnings, then notes.
2. A bundle is fit for activation only if it loads *and* agrees with its own tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from sidecar.documents import DocumentErrors
from sidecar.errors import DocumentError
from sidecar.policy.bundle import Bundle, load_bundle
from sidecar.policy.cases import PolicyCase
from sidecar.policy.engine import PolicyEngine, PolicyVerdict
from sidecar.policy.explain import Explanation, PolicyOutcome, explain
from sidecar.policy.judge import DestinationParser, judge, plain_destination
from sidecar.policy.lint import Problem, lint

__all__ = [
    "CaseResult",
    "CheckReport",
    "Explanation",
    "PolicyOutcome",
    "Problem",
    "TestReport",
    "check_bundle",
    "explain",
    "run_tests",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What is to be said about a bundle. ``bundle`` is None if it does not load."""

    problems: tuple[Problem, ...]
    bundle: Bundle | None

    @property
    def ok(self) -> bool:
        """Whether the bundle loads."""
        return self.bundle is not None

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Why it does not load."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is probably not meant."""
        return tuple(problem for problem in self.problems if problem.severity == "warning")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """What one test expected, and what the bundle says."""

    case: PolicyCase
    verdict: PolicyVerdict
    failure: str = ""

    @property
    def name(self) -> str:
        """The test's name."""
        return self.case.name

    @property
    def ok(self) -> bool:
        """Whether the bundle agrees."""
        return not self.failure


@dataclass(frozen=True, slots=True, kw_only=True)
class TestReport:
    """What a bundle says to its own tests."""

    __test__: ClassVar[bool] = False

    results: tuple[CaseResult, ...]

    @property
    def failures(self) -> tuple[CaseResult, ...]:
        """The tests that the bundle disagrees with."""
        return tuple(result for result in self.results if not result.ok)

    @property
    def failed(self) -> int:
        """How many tests the bundle disagrees with."""
        return len(self.failures)

    @property
    def ok(self) -> bool:
        """Whether the bundle agrees with all of them."""
        return not self.failures


def check_bundle(path: Path) -> CheckReport:
    """Return what is wrong, doubtful or worth knowing about the bundle in *path*."""
    try:
        bundle = load_bundle(path)
    except DocumentErrors as exc:
        return CheckReport(problems=tuple(_error(problem) for problem in exc.all), bundle=None)
    return CheckReport(problems=lint(bundle), bundle=bundle)


def _error(problem: DocumentError) -> Problem:
    place = problem.path + (f":{problem.line}" if problem.line is not None else "")
    return Problem(
        severity="error",
        code=problem.reason.value.lower().replace("_", "-"),
        message=problem.message.removeprefix(f"{place}: "),
        path=problem.path,
        line=problem.line,
        key=problem.key,
        hint=problem.hint,
    )


def run_tests(
    bundle: Bundle, *, parse_destination: DestinationParser = plain_destination
) -> TestReport:
    """Return what *bundle* says to the tests in it."""
    engine = PolicyEngine(bundle)
    return TestReport(results=tuple(_run(engine, case, parse_destination) for case in bundle.tests))


def _run(engine: PolicyEngine, case: PolicyCase, parse: DestinationParser) -> CaseResult:
    verdict, _ = judge(
        engine,
        agent=case.agent,
        session=case.session,
        tool=case.tool,
        arguments=case.arguments,
        parse_destination=parse,
    )
    failure = ""
    if verdict.effect is not case.expect:
        failure = f"expected {case.expect}, got {verdict.effect}: {verdict.text}"
    elif case.policy is not None and case.policy not in verdict.policy_ids:
        decided = ", ".join(verdict.policy_ids) or f"no policy ({verdict.text})"
        failure = f"expected policy {case.policy} to decide, but it was {decided}"
    return CaseResult(case=case, verdict=verdict, failure=failure)
