# SPDX-License-Identifier: Apache-2.0
"""Where automation is served is a setting: off unless asked for, and never in plain text."""

from __future__ import annotations

import pytest

from sidecar.settings import ConfigurationErrors, Settings

_LISTENERS = ["api_listen", "token_listen"]


@pytest.mark.parametrize("name", _LISTENERS)
def test_it_is_off_by_default(name: str) -> None:
    """Nobody listens unless somebody said where."""
    assert getattr(Settings.load(environ={}), name) == ""


@pytest.mark.parametrize("name", _LISTENERS)
def test_without_a_certificate_it_says_what_is_missing(name: str) -> None:
    """There is no plain HTTP, and no setting for it."""
    settings = Settings.load(flags={name: "127.0.0.1:7450"}, environ={})

    with pytest.raises(ConfigurationErrors) as caught:
        settings.check_for_control(is_dev=False)

    problem = next(item for item in caught.value.all if item.key == name)
    assert "TLS alone" in str(problem)
    assert "tls_certificate and tls_key" in problem.hint


@pytest.mark.parametrize("name", _LISTENERS)
def test_with_development_certificates_it_needs_nothing(name: str) -> None:
    """They are made at the start."""
    settings = Settings.load(flags={name: "127.0.0.1:7450"}, environ={}, is_dev=True)

    settings.check_for_control(is_dev=True)


@pytest.mark.parametrize("name", _LISTENERS)
@pytest.mark.parametrize("taken", ["listen", "console_listen"])
def test_two_listeners_at_one_address_are_refused(name: str, taken: str) -> None:
    """Before control starts, with the name of the other."""
    flags = {name: "127.0.0.1:7450", taken: "127.0.0.1:7450"}

    with pytest.raises(ConfigurationErrors, match=f"is {taken} already|is {name} already"):
        Settings.load(flags=flags, environ={})


def test_the_default_address_of_operators_is_taken_too() -> None:
    """What nobody wrote down counts as well."""
    with pytest.raises(ConfigurationErrors, match="is listen already"):
        Settings.load(flags={"token_listen": "127.0.0.1:7443"}, environ={})


@pytest.mark.parametrize("name", _LISTENERS)
def test_an_empty_variable_turns_it_off(name: str) -> None:
    """Over a file that turns it on, as with metrics."""
    settings = Settings.load(environ={f"HOLDFAST_{name.upper()}": ""})

    assert getattr(settings, name) == ""


def test_the_commands_own_variable_is_tolerated() -> None:
    """It is no setting of control's."""
    Settings.load(environ={"HOLDFAST_API_TOKEN_FILE": "/x"})
