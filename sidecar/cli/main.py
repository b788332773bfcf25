# SPDX-License-Identifier: Apache-2.0
"""``holdfast``: finds a command, runs it, and says how it ended.

Nothing heavy is imported here: ``holdfast --help`` must come at once, and a kill must not wait for
libraries it does not need. Other distributions add commands by an entry point in the group
``holdfast.commands`` that names a click command.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from sidecar import __version__
from sidecar.cli.command import LazyGroup
from sidecar.cli.exits import EXIT_CODES, Exit, exit_of
from sidecar.cli.output import emit, is_json, set_json, talk
from sidecar.cli.plugins import plugins
from sidecar.errors import HoldfastError

__all__ = ["cli", "main"]

_SIGINT_EXIT: Final = 130
_M: Final = "sidecar.cli."
# In the order in which people meet them.
_COMMANDS: Final = {
    "quickstart": (_M + "quickstart", "quickstart", "See it work: recorded calls, a kill, proof."),
    "up": (_M + "up", "up", "Start control and a gate per agent."),
    "run": (_M + "run", "run", "Run an agent behind its gate, and stop it when it is killed."),
    "try": (_M + "try_", "try_", "Ask a gate about one tool call, and why."),
    "contain": (_M + "contain", "contain", "Contain an agent, a tool, a destination, or more."),
    "release": (_M + "contain", "release", "End one containment; needs a second human."),
    "approvals": (_M + "approvals", "approvals", "Requests that wait for a human: look, decide."),
    "operations": (_M + "operations", "operations", "Orders that a human must grant first."),
    "directives": (_M + "directives", "directives", "Containments that stand."),
    "receipt": (_M + "receipt", "receipt", "Proofs of containment: show, verify."),
    "verify-containment": (
        _M + "verify",
        "verify_containment",
        "Ask an agent's last calls again: is it really contained?",
    ),
    "tokens": (_M + "tokens", "tokens", "Revoke the tokens that agents carry."),
    "agents": (_M + "inventory", "agents", "Agents: declared, served, contained."),
    "tools": (_M + "inventory", "tools", "Tools: declared and asked for."),
    "investigate": (
        _M + "investigate",
        "investigate",
        "What an agent did, what it can have touched.",
    ),
    "incidents": (_M + "incidents", "incidents", "Records of agents that went wrong."),
    "accounts": (_M + "accounts", "accounts", "Passkeys of operators: enrol, list, remove."),
    "api-tokens": (
        _M + "api_tokens",
        "api_tokens",
        "Tokens for automation: create, list, rotate, revoke.",
    ),
    "policy": (_M + "policy", "policy", "Check, test, explain and reload the policy bundle."),
    "audit": (_M + "audit", "audit", "Read, prove and verify the logs."),
    "config": (_M + "config", "config", "Settings: what they are and where they come from."),
    "doctor": (_M + "doctor", "doctor", "Find out what is wrong with this host."),
    "health": (_M + "health", "health", "Whether a control or a gate serves."),
    "control": (_M + "serve", "control", "Run control, one per host."),
    "gate": (_M + "serve", "gate", "Run a gate."),
    "completion": (_M + "completion", "completion", "Completion for bash, zsh or fish."),
    "version": (_M + "version", "version", "Versions of this program, the API and the policy."),
}
_OWN_PLUGINS: Final = {"soar": "Actions for SOAR playbooks: list, run, generate."}


class Root(LazyGroup):
    """The top command: with plug-ins, and with the one place where everything ends."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *sorted(plugins())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        if found is None and (plugin := plugins().get(cmd_name)) is not None:
            loaded = plugin.load()
            if isinstance(loaded, click.Command):
                return loaded
        return found

    def help_rows(self) -> list[tuple[str, str]]:
        rows = super().help_rows()
        return rows + [
            (name, _OWN_PLUGINS.get(name, f"Plug-in {plugin.module}."))
            for name, plugin in sorted(plugins().items())
        ]

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run, and leave with the exit code that says how it went."""
        set_json(False)
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
        except click.exceptions.Exit as exc:
            code = exc.exit_code
        except Exception as exc:  # noqa: BLE001 - the one exit of the program
            code = _end(exc)
        sys.exit(code if isinstance(code, int) else Exit.OK)


def _end(error: Exception) -> int:
    """Say what went wrong and return the exit code."""
    if isinstance(error, HoldfastError):
        return _fail(exit_of(error), str(error), error.message, error.reason, error.hint)
    if isinstance(error, click.Abort):
        talk("interrupted")
        return _SIGINT_EXIT
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        talk(error.format_message())
        return Exit.USAGE
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        hint = f"see `{context.command_path} --help`" if context is not None else ""
        message = error.format_message()
        return _fail(Exit.USAGE, f"{message}\n{hint}" if hint else message, message, "USAGE", hint)
    if isinstance(error, BrokenPipeError):
        # The reader went away; give Python nothing to flush into the void.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the very end
        return Exit.FAILURE
    if "--debug" in sys.argv:
        talk("".join(traceback.format_exception(error)))
    message = f"internal error: {type(error).__name__}: {error}"
    hint = "run it again as `holdfast --debug …` and report what it says"
    return _fail(Exit.FAILURE, f"{message} ({hint})", message, "INTERNAL", hint)


def _fail(code: Exit, text: str, message: str, reason: str, hint: str) -> int:
    talk(f"error: {text}", style="red")
    if is_json():
        body = {"reason": str(reason), "message": message, "hint": hint, "exit_code": int(code)}
        emit("Error", {"error": body}, lambda page: None)
    return int(code)


_EPILOG: Final = "\b\nExit codes:\n" + "\n".join(
    f"  {int(code)}  {text}" for code, text in EXIT_CODES.items()
)


@click.group(
    cls=Root,
    lazy=_COMMANDS,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show where an internal error was.")
@click.version_option(__version__, prog_name="holdfast")
def cli() -> None:
    """Contains AI agents that go wrong.

    \b
    Examples:
      holdfast quickstart                                  see it work
      holdfast up --dev                                    control and gates, to try it out
      holdfast run --agent banking -- python agent.py      an agent behind its gate
      holdfast contain agent banking --level kill --reason "wires money at night"
    """


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run ``holdfast`` with *argv* and exit."""
    cli.main(args=list(argv) if argv is not None else None, prog_name="holdfast")
    raise AssertionError  # cli.main() always exits


if __name__ == "__main__":
    main()
