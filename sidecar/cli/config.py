# SPDX-License-Identifier: Apache-2.0
"""``holdfast config``: what the settings are, where they come from, whether they are right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sidecar.cli.command import group
from sidecar.cli.exits import Exit
from sidecar.cli.output import Page, emit
from sidecar.settings import ConfigurationErrors, Settings, flag_of, form_of, variable_of

__all__ = ["config"]

_CONFIG = click.option(
    "--config", "path", type=click.Path(path_type=Path), help="Settings file to look at."
)
_DEV = click.option("--dev", "is_dev", is_flag=True, help="As control --dev would see them.")


@group(name="config")
def config() -> None:
    """Settings: what they are and where they come from."""


@config.command(
    name="show",
    examples=(
        "holdfast config show",
        "holdfast config show --origin",
        "holdfast config show --config ./holdfast.yaml --json",
    ),
)
@click.option("--origin", "is_origin", is_flag=True, help="Also where each value comes from.")
@_CONFIG
@_DEV
def show(is_origin: bool, path: Path | None, is_dev: bool) -> Exit:
    """Show every setting as a process started here and now would have it."""
    settings = Settings.load(config=path, is_dev=is_dev)
    values = settings.effective()

    def tell(page: Page) -> None:
        if is_origin:
            rows = [
                (name, _text(value), settings.origin_of(name)) for name, value in values.items()
            ]
            page.table(("SETTING", "VALUE", "ORIGIN"), rows)
        else:
            page.fields([(name, _text(value)) for name, value in values.items()])
        page.line(f"digest {settings.digest()}")

    data = {
        "settings": {
            name: {"value": value, "origin": settings.origin_of(name)}
            for name, value in values.items()
        },
        "digest": settings.digest(),
    }
    emit("Settings", data, tell)
    return Exit.OK


def _text(value: object) -> str:
    return "-" if value is None else '""' if value == "" else str(value)


@config.command(
    name="validate",
    examples=(
        "holdfast config validate",
        "holdfast config validate --config ./holdfast.yaml --for control",
    ),
)
@click.option(
    "--for", "process", type=click.Choice(["control", "gate"]), default="gate", show_default=True,
    help="Control needs more: a bundle and certificates.",
)  # fmt: skip
@_CONFIG
@_DEV
def validate(process: str, path: Path | None, is_dev: bool) -> Exit:
    """Check file and environment. Exits 2, naming every place, if anything is wrong."""
    try:
        settings = Settings.load(config=path, is_dev=is_dev)
        if process == "control":
            settings.check_for_control(is_dev=is_dev)
    except ConfigurationErrors as exc:
        problems = [
            {
                "path": problem.path or None,
                "line": problem.line,
                "key": problem.key or None,
                "message": problem.message,
                "hint": problem.hint or None,
            }
            for problem in exc.all
        ]
        texts = [str(problem) for problem in exc.all]

        def tell(page: Page) -> None:
            for text in texts:
                page.mark(False, text)

        emit("SettingsCheck", {"ok": False, "problems": problems}, tell)
        return Exit.USAGE
    digest = settings.digest()
    emit(
        "SettingsCheck",
        {"ok": True, "problems": [], "digest": digest},
        lambda page: page.mark(True, f"the settings are right; digest {digest}"),
    )
    return Exit.OK


@config.command(
    name="reference", examples=("holdfast config reference", "holdfast config reference --json")
)
def reference() -> Exit:
    """List every setting: its flag, its variable, what it does, and what it may be."""
    rows: list[dict[str, Any]] = [
        {
            "setting": name,
            "flag": flag_of(name),
            "variable": variable_of(name),
            "description": info.description,
            "form": form_of(name),
        }
        for name, info in Settings.model_fields.items()
    ]

    def tell(page: Page) -> None:
        for row in rows:
            page.line(f"{row['setting']}  ({row['flag']}, {row['variable']})", style="bold")
            page.line(f"    {row['description']}")
            if row["form"]:
                page.line(f"    {row['form']}")

    emit("SettingsReference", {"settings": rows}, tell)
    return Exit.OK
