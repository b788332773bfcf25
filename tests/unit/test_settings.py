# SPDX-License-Identifier: Apache-2.0
"""Settings: where they come from, and how every mistake is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sidecar.errors import ConfigurationError
from sidecar.settings import (
    TOLERATED_VARIABLES,
    ConfigurationErrors,
    Settings,
    config_in_use,
    default_bundle,
    flag_of,
    form_of,
    locate_state,
    pass_on,
    split_address,
    variable_of,
)

TLS = {"tls_certificate": "/c.pem", "tls_key": "/c.key", "client_ca": "/ca.pem"}


@pytest.fixture
def write(tmp_path: Path):
    """Write a settings file and return its path."""

    def write(text: str) -> Path:
        path = tmp_path / "holdfast.yaml"
        path.write_text(text)
        return path

    return write


def problems_of(**sources: Any) -> list[str]:
    sources.setdefault("environ", {})
    with pytest.raises(ConfigurationErrors) as caught:
        Settings.load(**sources)
    return [str(problem) for problem in caught.value.all]


# -- precedence -----------------------------------------------------------------------------------


def test_flag_beats_environment_beats_file_beats_default(write):
    """Each source is asked in its turn, for each setting on its own."""
    config = write("version: 1\nlisten: 127.0.0.1:1001\nlog_level: error\nack_timeout_s: 2\n")
    environ = {"HOLDFAST_LISTEN": "127.0.0.1:1002", "HOLDFAST_LOG_LEVEL": "debug"}

    settings = Settings.load(
        flags={"listen": "127.0.0.1:1003", "log_level": None}, environ=environ, config=config
    )

    assert settings.listen == "127.0.0.1:1003"
    assert settings.log_level == "debug"
    assert settings.ack_timeout_s == 2
    assert settings.max_in_flight == 256


def test_every_value_remembers_where_it_came_from(write):
    """``origin_of`` names flag, variable, or file and line."""
    config = write("version: 1\nlog_style: json\nack_timeout_s: 2\n")

    settings = Settings.load(
        flags={"listen": "127.0.0.1:1003"}, environ={"HOLDFAST_LOG_LEVEL": "debug"}, config=config
    )

    assert settings.origin_of("listen") == "flag --listen"
    assert settings.origin_of("log_level") == "environment variable HOLDFAST_LOG_LEVEL"
    assert settings.origin_of("ack_timeout_s") == f"file {config}:3"
    assert settings.origin_of("max_in_flight") == "default"
    assert Settings(log_level="error").origin_of("log_level") == "argument"
    with pytest.raises(ValueError, match="no setting"):
        settings.origin_of("nonsense")


def test_settings_are_frozen():
    """Nobody changes them once a process runs."""
    settings = Settings.load(environ={})

    with pytest.raises(ValueError, match="frozen"):
        settings.listen = "0.0.0.0:1"  # type: ignore[misc]


def test_the_file_is_named_by_flag_or_environment(write, tmp_path):
    """--config wins over $HOLDFAST_CONFIG; a file that was named must be there."""
    config = write("version: 1\nlog_level: error\n")
    other = tmp_path / "other.yaml"
    other.write_text("version: 1\nlog_level: debug\n")

    by_environment = Settings.load(environ={"HOLDFAST_CONFIG": str(config)})
    by_flag = Settings.load(environ={"HOLDFAST_CONFIG": str(config)}, config=other)

    assert by_environment.log_level == "error"
    assert by_flag.log_level == "debug"
    assert config_in_use(environ={"HOLDFAST_CONFIG": str(config)}) == config
    assert config_in_use(environ={}) in {None, Path("/etc/holdfast/holdfast.yaml")}
    assert "cannot be read" in problems_of(config=tmp_path / "missing.yaml")[0]


def test_paths_on_the_command_line_are_taken_from_here(tmp_path, monkeypatch):
    """A relative path is natural for a flag and ambiguous in a file."""
    monkeypatch.chdir(tmp_path)

    settings = Settings.load(flags={"bundle": "./bundle", "state_dir": "s"}, environ={})

    assert settings.bundle == tmp_path / "bundle"
    assert settings.runtime_dir == tmp_path / "s" / "run"
    assert settings.layout.latch == tmp_path / "s" / "latch"


def test_dev_brings_a_bundle_and_production_does_not():
    """The built-in bundle stands in only where somebody asked for development."""
    assert Settings.load(environ={}).bundle is None
    settings = Settings.load(environ={}, is_dev=True)

    assert settings.bundle == default_bundle()
    assert (default_bundle() / "tools.yaml").is_file()
    assert settings.origin_of("bundle") == "default with --dev"
    assert Settings.load(environ={"HOLDFAST_BUNDLE": "/b"}, is_dev=True).bundle == Path("/b")


def test_null_in_a_file_is_the_same_as_nothing(write):
    """``bundle: null`` says what leaving it out says."""
    settings = Settings.load(environ={}, config=write("version: 1\nbundle: null\n"), is_dev=True)

    assert settings.bundle == default_bundle()


def test_the_digest_changes_with_every_setting():
    """Two processes log the same digest exactly if they run with the same settings."""
    plain = Settings.load(environ={"HOLDFAST_STATE_DIR": "/s"})
    same = Settings.load(flags={"state_dir": "/s"}, environ={})
    changed = Settings.load(environ={"HOLDFAST_STATE_DIR": "/s", "HOLDFAST_ACK_TIMEOUT_S": "2"})

    assert re.fullmatch(r"[0-9a-f]{64}", plain.digest())
    assert plain.digest() == same.digest()
    assert plain.digest() != changed.digest()


def test_metrics_can_be_turned_off_over_a_file_that_turns_them_on(write):
    """An empty value is a value for the one setting that may be empty."""
    config = write("version: 1\nmetrics_listen: 127.0.0.1:9464\n")

    settings = Settings.load(environ={"HOLDFAST_METRICS_LISTEN": ""}, config=config)

    assert settings.metrics_listen == ""


# -- names ----------------------------------------------------------------------------------------


def test_a_gate_is_named_after_its_agents():
    """The default name is what its directory under systemd is called, too."""
    settings = Settings.load(environ={})

    assert settings.gate_name(["banking"]) == "banking"
    assert settings.gate_name(["banking", "travel"]) == "banking-travel"
    assert Settings.load(environ={"HOLDFAST_GATE_ID": "g1"}).gate_name(["banking"]) == "g1"


def test_a_gate_of_many_agents_is_named_after_its_host(monkeypatch):
    """Too long a name is not cut: two gates could become one."""
    monkeypatch.setattr("socket.gethostname", lambda: "Host-7")
    settings = Settings.load(environ={})

    assert settings.gate_name([f"agent-{number}" for number in range(20)]) == "host-7"


def test_no_gate_is_called_as_controls_log_is(monkeypatch):
    """Control looks for its own log under that name: a gate's would be seen by nobody."""
    monkeypatch.setattr("socket.gethostname", lambda: "host-7")

    assert Settings.load(environ={}).gate_name(["control"]) == "host-7"
    with pytest.raises(ConfigurationError, match=r"HOLDFAST_GATE_ID.*but not control"):
        Settings.load(environ={"HOLDFAST_GATE_ID": "control"})


def test_a_gate_that_nothing_can_name_says_so(monkeypatch):
    """Neither agents nor host fit."""
    monkeypatch.setattr("socket.gethostname", lambda: "ho st")

    with pytest.raises(ConfigurationError, match=r"gate_id.*--gate-id"):
        Settings.load(environ={}).gate_name(["x" * 64])


def test_each_log_has_its_own_anchor():
    """Two logs in one anchor file would each look cut by the other."""
    settings = Settings.load(environ={"HOLDFAST_ANCHOR_FILE": "/mnt/a.jsonl"})

    assert settings.anchor_of("control") == Path("/mnt/a-control.jsonl")
    assert settings.anchor_of("banking") != settings.anchor_of("control")
    assert Settings.load(environ={}).anchor_of("control") is None


# -- control --------------------------------------------------------------------------------------


def test_production_needs_certificates_and_a_bundle():
    """Every missing thing is named, with the flag, the variable and the key that give it."""
    with pytest.raises(ConfigurationErrors) as caught:
        Settings.load(environ={}).check_for_control(is_dev=False)

    assert [problem.key for problem in caught.value.all] == [
        "bundle", "tls_certificate", "tls_key", "client_ca",
    ]  # fmt: skip
    text = str(caught.value)
    assert "--client-ca" in text
    assert "HOLDFAST_CLIENT_CA" in text
    assert "--dev" in text


def test_production_with_everything_is_accepted():
    """Nothing more is asked for."""
    settings = Settings.load(flags={**TLS, "bundle": "/b"}, environ={})

    settings.check_for_control(is_dev=False)

    Settings.load(environ={}, is_dev=True).check_for_control(is_dev=True)


# -- every mistake --------------------------------------------------------------------------------

BAD_FILES = [
    ("listen: '7443'", "2: listen", "127.0.0.1:7443"),
    ("listen: ':7443'", "2: listen", "0.0.0.0"),
    ("listen: 127.0.0.1", "2: listen", "host:port"),
    ("listen: 127.0.0.1:0", "2: listen", "between 1 and 65535"),
    ("listen: 127.0.0.1:70000", "2: listen", "between 1 and 65535"),
    ("listen: '::1:7443'", "2: listen", "[::1]:7443"),
    ("listen: 'exa mple:7443'", "2: listen", "letters, digits"),
    ("listen: null", "2: listen", "127.0.0.1:7443|0.0.0.0:7443"),
    ("lisen: 127.0.0.1:1", "2: lisen", 'did you mean "listen"'),
    ("max_staleness_s: 60", "2: max_staleness_s", "at most 30"),
    ("max_staleness_s: 0.1", "2: max_staleness_s", "at least 0.5"),
    ("max_staleness_s: '5'", "2: max_staleness_s", "number"),
    ("max_staleness_s: five", "2: max_staleness_s", "for example 5"),
    ("max_staleness_s: true", "2: max_staleness_s", "number"),
    ("ack_timeout_s: 0", "2: ack_timeout_s", "at least 0.1"),
    ("wide_blast_share: 50", "2: wide_blast_share", "share of 1"),
    ("wide_blast_share: 0", "2: wide_blast_share", "at least 0.01"),
    ("isolation_grace_s: -1", "2: isolation_grace_s", "at least 0"),
    ("max_in_flight: 0", "2: max_in_flight", "at least 1"),
    ("max_in_flight: 2.5", "2: max_in_flight", "whole number"),
    ("outcomes_per_minute: 1", "2: outcomes_per_minute", "at least 60"),
    ("log_style: jsn", "2: log_style", 'did you mean "json"'),
    ("log_level: warn", "2: log_level", 'did you mean "warning"'),
    ("bundle: ./bundle", "2: bundle", "from / on"),
    ("bundle: ''", "2: bundle", "empty path"),
    ("state_dir: [a]", "2: state_dir", "absolute path"),
    ("gate_id: Banking", "2: gate_id", "lower-case"),
    ("metrics_listen: 9464", "2: metrics_listen", "127.0.0.1:9464"),
    ("tls_key: /k.pem", "tls_certificate", "all three"),
    ("insecure: true", "2: insecure", "no setting lets a call pass"),
    ("fail_open: true", "2: fail_open", "no setting lets a call pass"),
    ("log_level: info\nlog_level: debug", "3: log_level", "keep one"),
    ("log_level: no", "2: log_level", "quote it"),
    ("version: 2", "2: version", "keep one"),
    ("\tlisten: x", "2:", "spaces"),
    ("listen: &a x", "2: listen", "write the value out"),
]


@pytest.mark.parametrize(("text", "place", "remedy"), BAD_FILES)
def test_a_mistake_in_the_file_names_place_and_remedy(write, text, place, remedy):
    """File, line, key, what is wrong, what to do."""
    config = write(f"version: 1\n{text}\n")

    found = "\n".join(problems_of(config=config))

    assert place in found
    assert str(config) in found or "tls_certificate" in found
    assert any(part in found for part in remedy.split("|"))


BAD_VARIABLES = [
    ({"HOLDFAST_FAIL_OPEN": "1"}, "HOLDFAST_FAIL_OPEN", "no setting lets a call pass"),
    ({"HOLDFAST_INSECURE": "true"}, "HOLDFAST_INSECURE", "no setting lets a call pass"),
    ({"HOLDFAST_SKIP_TLS_VERIFY": "1"}, "HOLDFAST_SKIP_TLS_VERIFY", "no setting lets a call pass"),
    ({"HOLDFAST_LISTN": "x"}, "HOLDFAST_LISTN", 'did you mean "HOLDFAST_LISTEN"'),
    ({"HOLDFAST_WHATEVER_ELSE": "x"}, "HOLDFAST_WHATEVER_ELSE", "config reference"),
    ({"HOLDFAST_LISTEN": ""}, "HOLDFAST_LISTEN", "unset it or give it a value"),
    ({"HOLDFAST_CONFIG": ""}, "HOLDFAST_CONFIG", "unset it or give it a value"),
    ({"HOLDFAST_MAX_IN_FLIGHT": "many"}, "HOLDFAST_MAX_IN_FLIGHT", "at most 4096"),
    ({"HOLDFAST_MAX_STALENESS_S": "nan"}, "HOLDFAST_MAX_STALENESS_S", "finite"),
    ({"HOLDFAST_MAX_STALENESS_S": "1e9"}, "HOLDFAST_MAX_STALENESS_S", "at most 30"),
    ({"HOLDFAST_LOG_LEVEL": "verbose"}, "HOLDFAST_LOG_LEVEL", "debug, info, warning, error"),
    ({"HOLDFAST_GATE_ID": "a/b"}, "HOLDFAST_GATE_ID", "lower-case"),
    ({"HOLDFAST_BUNDLE": "/a\x1b]8;;x"}, "HOLDFAST_BUNDLE", "ordinary path"),
    ({"HOLDFAST_\x1b[2J": "x"}, "HOLDFAST_", "config reference"),
]


@pytest.mark.parametrize(("environ", "place", "remedy"), BAD_VARIABLES)
def test_a_mistake_in_the_environment_names_place_and_remedy(environ, place, remedy):
    """The variable, what is wrong, what to do; and nothing that steers a terminal."""
    found = problems_of(environ=environ)

    assert len(found) == 1
    assert place in found[0]
    assert remedy in found[0]
    assert "\x1b" not in found[0]


BAD_FLAGS = [
    ({"listen": ":80"}, "--listen", "0.0.0.0"),
    ({"max_staleness_s": "0"}, "--max-staleness-s", "at least 0.5"),
    ({"log_style": "pretty"}, "--log-style", "auto, json, console"),
    ({"bundle": ""}, "--bundle", "absolute path"),
]


@pytest.mark.parametrize(("flags", "place", "remedy"), BAD_FLAGS)
def test_a_mistake_on_the_command_line_names_place_and_remedy(flags, place, remedy):
    """The flag, what is wrong, what to do."""
    found = problems_of(flags=flags)

    assert len(found) == 1
    assert found[0].startswith(place)
    assert remedy in found[0]


def test_all_problems_of_all_sources_come_at_once(write):
    """Nobody fixes a file line by line, start by start."""
    config = write("version: 1\nlisen: x\nlog_level: loud\n")

    found = problems_of(
        config=config, environ={"HOLDFAST_LISTN": "x"}, flags={"max_in_flight": "0"}
    )

    assert len(found) == 4


def test_k09_no_knob_weakens_fail_closed(write):
    """There is no setting, in any source, that lets a call pass that could not be decided."""
    words = re.compile(r"open|insecure|disable|bypass|skip|allow|ignore|unsafe|permissive|dev")

    assert not [name for name in Settings.model_fields if words.search(name)]
    for name in ("FAIL_OPEN", "INSECURE", "DEV", "ALLOW_ALL", "DISABLE_POLICY", "NO_TLS"):
        assert f"HOLDFAST_{name}" in problems_of(environ={f"HOLDFAST_{name}": "1"})[0]
        assert name.lower() in problems_of(config=write(f"version: 1\n{name.lower()}: true\n"))[0]


def test_k09_unknown_variables_negative_control(monkeypatch):
    """With the guard patched out, FAIL_OPEN=1 is silently accepted: the guard is what refuses."""
    monkeypatch.setattr(
        "sidecar.settings.TOLERATED_VARIABLES", TOLERATED_VARIABLES | {"HOLDFAST_FAIL_OPEN"}
    )

    Settings.load(environ={"HOLDFAST_FAIL_OPEN": "1"})


def test_the_sdk_s_variables_are_tolerated():
    """An agent's process may run holdfast commands."""
    Settings.load(environ=dict.fromkeys(TOLERATED_VARIABLES - {"HOLDFAST_CONFIG"}, "x"))


def test_a_key_named_like_a_secret_is_not_shown_with_its_value(write):
    """People put secrets where they do not belong; the message does not repeat them."""
    found = problems_of(
        config=write("version: 1\napi_token: hunter2\n"), environ={"HOLDFAST_API_KEY": "hunter3"}
    )

    assert len(found) == 2
    assert not any("hunter" in text for text in found)


@pytest.mark.parametrize("kind", ["link", "directory", "binary", "huge"])
def test_a_file_that_is_no_settings_file_is_refused(tmp_path, kind):
    """Links, directories, binaries and giants are told by their name."""
    path = tmp_path / "holdfast.yaml"
    if kind == "link":
        (tmp_path / "real.yaml").write_text("version: 1\n")
        path.symlink_to(tmp_path / "real.yaml")
    elif kind == "directory":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"\xff\xfe\x00\x01")
    else:
        path.write_bytes(b"#" * 2_000_000)

    assert str(path) in problems_of(config=path)[0]


@hypothesis_settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(Settings.model_fields)), value=st.text(max_size=40))
def test_hostile_values_only_ever_raise_configuration_errors(name, value):
    """Whatever stands in the environment, the start ends with settings or with our own error."""
    told = ""
    try:
        Settings.load(environ={variable_of(name): value})
    except ConfigurationErrors as exc:
        told = str(exc)

    assert "\x1b" not in told


# -- the rest -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:7443", ("127.0.0.1", 7443)),
        ("[::1]:1", ("::1", 1)),
        ("control.example:65535", ("control.example", 65535)),
    ],
)
def test_addresses_are_split(text, expected):
    """Host and port of the two forms there are."""
    assert split_address(text) == expected


def test_every_setting_has_doc_example_and_form():
    """The reference page is generated from the model, so the model must say everything."""
    for name, info in Settings.model_fields.items():
        assert info.description, name
        assert info.description.endswith("."), name
        assert info.examples, name
        assert "for example" in form_of(name), name
        assert flag_of(name).startswith("--")
        Settings.model_validate({**(TLS if name in TLS else {}), name: info.examples[0]})


def test_a_broken_setting_does_not_hide_the_state_directory(write):
    """Who wants to stop an agent must find control, whatever else is wrong in the file."""
    config = write("version: 1\nstate_dir: /srv/holdfast\nlog_level: loud\ntypo: 1\n")

    layout, listen, problems = locate_state(environ={"HOLDFAST_OOPS": "1"}, config=config)

    assert layout.root == Path("/srv/holdfast")
    assert listen == "127.0.0.1:7443"
    assert len(problems) == 3


def test_what_was_said_on_the_command_line_is_passed_on(monkeypatch, tmp_path):
    """Children see the parent's flags as their environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOLDFAST_STATE_DIR", "HOLDFAST_CONFIG", "HOLDFAST_LISTEN"):
        monkeypatch.delenv(name, raising=False)
    environ: dict[str, str] = {}
    monkeypatch.setattr("os.environ", environ)

    pass_on({"state_dir": "s", "listen": "127.0.0.1:1", "bundle": None}, Path("h.yaml"))

    assert environ == {
        "HOLDFAST_STATE_DIR": str(tmp_path / "s"),
        "HOLDFAST_LISTEN": "127.0.0.1:1",
        "HOLDFAST_CONFIG": str(tmp_path / "h.yaml"),
    }
