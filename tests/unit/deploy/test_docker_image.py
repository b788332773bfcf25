# SPDX-License-Identifier: Apache-2.0
"""The Dockerfile's rules, read off its text: no engine runs where the tests do."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCKER = ROOT / "deploy" / "docker"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, its continuation lines joined."""

    word: str
    rest: str


def _parse(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [
        Instruction(word.upper(), " ".join(rest.split()))
        for word, _, rest in (line.partition(" ") for line in joined.splitlines())
    ]


def _all(image: list[Instruction], word: str) -> list[str]:
    return [instruction.rest for instruction in image if instruction.word == word]


def _last_user_is_a_number_and_not_root(image: list[Instruction]) -> bool:
    users = _all(image, "USER")
    after = [i.word for i in image[image.index(Instruction("USER", users[-1])) :]] if users else []
    return (
        bool(users)
        and re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]) is not None
        and ("RUN" not in after)
    )


def _every_install_is_locked(image: list[Instruction]) -> bool:
    commands = [
        command
        for rest in _all(image, "RUN")
        for command in re.split(r"&&|;|\|\|", rest)
        if re.search(r"\bpip\b.*\b(?:install|wheel|download)\b", command)
    ]
    locked = re.compile(r"--require-hashes .*--only-binary :all: .*\.lock|--no-index\b")
    return len(commands) >= 3 and all(locked.search(command) for command in commands)


def _only_named_sources_are_copied(image: list[Instruction]) -> bool:
    copies = [rest for rest in _all(image, "COPY") if "--from=" not in rest]
    sources = [source for rest in copies for source in rest.split()[:-1]]
    return bool(sources) and all(
        source not in {".", "./", "*"} and (ROOT / source).exists() for source in sources
    )


def _no_secret_is_baked_in(image: list[Instruction]) -> bool:
    settings = " ".join(_all(image, "ENV") + _all(image, "ARG") + _all(image, "LABEL"))
    return re.search(r"(?i)passw|secret|token|credential|api_?key|_key=", settings) is None


def _nothing_is_fetched_by_address(image: list[Instruction]) -> bool:
    text = " ".join(instruction.rest for instruction in image)
    return not _all(image, "ADD") and not re.search(r"\w+://|\b(?:curl|wget|apt-get)\b", text)


def _base_is_tagged_and_the_tools_stay_behind(image: list[Instruction]) -> bool:
    stages = _all(image, "FROM")
    (base,) = [rest.partition("=")[2] for rest in _all(image, "ARG")]
    return re.fullmatch(
        r"python:3\.1[1-9]-slim(?:@sha256:[0-9a-f]{64})?", base
    ) is not None and stages == ["${PYTHON} AS build", "${PYTHON}"]


def _health_is_asked_of_the_process(image: list[Instruction]) -> bool:
    checks = _all(image, "HEALTHCHECK")
    return (
        len(checks) == 1 and "holdfast health --socket" in checks[0] and "--timeout=" in checks[0]
    )


def _entrypoint_is_exec_form(image: list[Instruction]) -> bool:
    return _all(image, "ENTRYPOINT") == ['["holdfast"]'] and _all(image, "STOPSIGNAL") == [
        "SIGTERM"
    ]


def _root_may_be_read_only(image: list[Instruction]) -> bool:
    settings = " ".join(_all(image, "ENV"))
    return all(
        setting in settings
        for setting in (
            "PYTHONDONTWRITEBYTECODE=1",
            "HOLDFAST_STATE_DIR=/var/lib/holdfast/",
            "HOLDFAST_RUNTIME_DIR=/run/holdfast/",
        )
    )


RULES: dict[str, Callable[[list[Instruction]], bool]] = {
    "user": _last_user_is_a_number_and_not_root,
    "locked": _every_install_is_locked,
    "sources": _only_named_sources_are_copied,
    "secrets": _no_secret_is_baked_in,
    "addresses": _nothing_is_fetched_by_address,
    "base": _base_is_tagged_and_the_tools_stay_behind,
    "health": _health_is_asked_of_the_process,
    "entrypoint": _entrypoint_is_exec_form,
    "read-only": _root_may_be_read_only,
}


def _broken(text: str) -> set[str]:
    image = _parse(text)
    return {name for name, rule in RULES.items() if not rule(image)}


def _dockerfile() -> str:
    return (DOCKER / "Dockerfile").read_text(encoding="utf-8")


def test_the_image_keeps_every_rule() -> None:
    """Non-root by number, locked packages only, no address, no secret, real health, exec form."""
    assert _broken(_dockerfile()) == set()


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("USER 65532:65532", "USER 0:0", "user"),
        ("USER 65532:65532", "USER holdfast", "user"),
        ("USER 65532:65532", "", "user"),
        ("STOPSIGNAL", "USER root\nSTOPSIGNAL", "user"),
        ("--require-hashes ", "", "locked"),
        (" --no-index --no-deps /wheel", " /wheel", "locked"),
        ("--only-binary :all: -r requirements.lock", "-r requirements.lock", "locked"),
        ("COPY sidecar ./sidecar", "COPY . .", "sources"),
        ("COPY sidecar ./sidecar", "COPY nowhere ./sidecar", "sources"),
        ("    PIP_NO_INPUT=1", "    API_TOKEN=abc", "secrets"),
        ("COPY sidecar ./sidecar", "ADD https://files.example/x.tar /", "addresses"),
        ("RUN rm -rf", "RUN curl -O files.example && rm -rf", "addresses"),
        ("python:3.13-slim\n", "python:latest\n", "base"),
        ("FROM ${PYTHON}\n", "", "base"),
        ("HEALTHCHECK", "# HEALTHCHECK", "health"),
        ('ENTRYPOINT ["holdfast"]', "ENTRYPOINT holdfast", "entrypoint"),
        ("    PYTHONDONTWRITEBYTECODE=1 \\\n", "", "read-only"),
    ],
)
def test_the_image_keeps_every_rule_negative_control(old: str, new: str, rule: str) -> None:
    """Each rule notices the change that breaks it."""
    text = _dockerfile()

    assert old in text
    assert rule in _broken(text.replace(old, new))


def test_the_build_context_is_an_allow_list() -> None:
    """What is not named never reaches the builder: no .git, no environment, no key."""
    lines = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    allowed = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]

    sources = [
        source
        for rest in _all(_parse(_dockerfile()), "COPY")
        if "--from=" not in rest
        for source in rest.split()[:-1]
    ]

    assert rules[0] == "*"
    assert sorted(allowed) == sorted(sources)
    assert {"**/*.pem", "**/*.key"} <= set(rules)
