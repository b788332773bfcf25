# SPDX-License-Identifier: Apache-2.0
"""What an administrator configures: strict, never weaker than verified TLS, and secret."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from soar_actions.client.connection import SETTINGS, Connection
from soar_actions.client.secret import Secret
from soar_actions.client.tls import tls_context
from soar_actions.errors import ActionError
from soar_actions.run import perform
from tests.support.certificates import Authority

GOOD = {"endpoint": "https://control.example:7445", "api_token": "hfat_canary_s3cr3t"}


def refusal(**changes: str) -> ActionError:
    """Return why an asset with *changes* is refused."""
    with pytest.raises(ActionError) as caught:
        Connection.from_asset({**GOOD, **changes})
    return caught.value


def test_an_asset_has_its_defaults() -> None:
    """An endpoint and a token are enough."""
    connection = Connection.from_asset({**GOOD, "endpoint": "https://control.example"})

    assert connection.address == "control.example:7445"
    assert connection.timeout_s == 10
    assert connection.ca_certificate == ""


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "control.example:7445",
        "http://control.example:7445",
        "HTTP://control.example",
        "ftp://control.example",
        "https://",
        "https://:7445",
        "https://control.example:0",
        "https://control.example:99999",
        "https://control.example:7445/path",
        "https://control.example:7445?token=x",
        "https://control.example:7445?",
        "https://control.example:7445#x",
        "https://user:pass@control.example:7445",
        "https://@control.example:7445",
        "https://control.example:7445/../x",
        "https://control.example\\@evil.example",
        "https://con trol.example",
        "https://control.example\n:7445",
        "https://*.example",
        "https://[::1",
        "https://a..example",
        "https://....",
        f"https://{'a' * 64}.example",
        f"https://{'a.' * 127}example",
    ],
)
def test_i05_an_endpoint_is_https_host_and_port(endpoint: str) -> None:
    """Nothing else: no plain HTTP, no path, no credential in it."""
    error = refusal(endpoint=endpoint)

    assert error.reason == "BAD_SETTING"
    assert "https" in error.remedy


@pytest.mark.parametrize(
    "name",
    ["verify", "verify_ssl", "verify_server_cert", "insecure", "unsecure_tls", "skip_tls_verify",
     "ssl", "trust_any_certificate", "allow_self_signed", "SSLVerify"],
)  # fmt: skip
@pytest.mark.parametrize("value", ["false", "true", ""])
def test_i05_no_setting_weakens_tls(name: str, value: str) -> None:
    """An asset that holds one is refused, whatever it says, and told what to do instead."""
    error = refusal(**{name: value})

    assert name in error.message
    assert "always verified" in error.message
    assert "ca_certificate" in error.remedy


def test_i05_no_declared_setting_weakens_tls() -> None:
    """None of those that there are even sounds like it."""
    for name in SETTINGS:
        assert not any(word in name for word in ("verify", "insecure", "unsafe", "ssl", "skip"))


def test_a_setting_that_does_not_exist_is_refused() -> None:
    """A typing mistake is found when the asset is tested."""
    assert "api_tokn" in refusal(api_tokn="x").message


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"api_token": ""}, "api_token"),
        ({"api_token": "two words"}, "api_token"),
        ({"api_token": "x\r\nX-Evil: 1"}, "api_token"),
        ({"api_token": "schlüssel"}, "api_token"),
        ({"client_key": "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----"}, "client"),
        ({"ca_certificate": "relative/ca.pem"}, "ca_certificate"),
        ({"ca_certificate": "/nonexistent/ca.pem"}, "ca_certificate"),
        ({"ca_certificate": "/etc/hostname"}, "ca_certificate"),
        ({"timeout_seconds": "0"}, "timeout_seconds"),
        ({"timeout_seconds": "61"}, "timeout_seconds"),
        ({"timeout_seconds": "-1"}, "timeout_seconds"),
        ({"timeout_seconds": "inf"}, "timeout_seconds"),
        ({"timeout_seconds": "1e9"}, "timeout_seconds"),
        ({"proxy": "proxy.example:3128"}, "proxy"),
        ({"proxy": "https://proxy.example:3128"}, "proxy"),
        ({"proxy": "socks5://proxy.example:1080"}, "proxy"),
        ({"proxy": "http://proxy.example"}, "proxy"),
        ({"proxy": "http://proxy.example:3128/x"}, "proxy"),
    ],
)
def test_a_setting_is_held_to_its_form(changes: dict[str, str], name: str) -> None:
    """The error names the setting, not its value."""
    error = refusal(**changes)

    assert name in error.message
    assert error.remedy


@pytest.mark.parametrize("form", ["text", "one_line", "escaped", "path"])
def test_pem_is_taken_as_platforms_give_it(form: str, tmp_path: Path) -> None:
    """Whole, on one line, with escaped line ends, or as a file: the same certificate."""
    pem = Authority().pem.decode()
    (tmp_path / "ca.pem").write_text(pem)
    given = {
        "text": pem,
        "one_line": pem.replace("\n", " "),
        "escaped": pem.replace("\n", "\\n"),
        "path": str(tmp_path / "ca.pem"),
    }[form]

    connection = Connection.from_asset({**GOOD, "ca_certificate": given})

    assert connection.ca_certificate == pem


def test_a_key_that_is_encrypted_asks_nobody() -> None:
    """OpenSSL would ask a terminal for the password, and a playbook would hang."""
    block = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----"
    certificate = Authority().pem.decode()

    error = refusal(client_key=block, client_certificate=certificate)

    assert "not encrypted" in error.message


def test_a_key_that_belongs_to_another_certificate_is_refused() -> None:
    """Before anything is sent; and the file that held it for a moment is gone."""
    authority = Authority()
    mine, other = authority.issue(), authority.issue()
    connection = Connection.from_asset(
        {
            "endpoint": "https://control.example",
            "client_certificate": mine.chain.decode(),
            "client_key": other.key_pem.decode(),
        }
    )

    with pytest.raises(ActionError) as caught:
        tls_context(connection)

    assert caught.value.reason == "BAD_SETTING"


def test_the_file_of_the_key_is_private_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It exists while OpenSSL reads it, for its owner alone."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen: list[int] = []

    class Context:
        def load_cert_chain(self, path: str, **_: object) -> None:
            seen.append(Path(path).stat().st_mode & 0o777)

    from soar_actions.client import tls

    leaf = Authority().issue()
    connection = Connection.from_asset(
        {
            "endpoint": "https://control.example",
            "client_certificate": leaf.chain.decode(),
            "client_key": leaf.key_pem.decode(),
        }
    )
    tls._load_credential(Context(), connection)  # type: ignore[arg-type]

    assert seen == [0o600]
    assert not list(tmp_path.iterdir())


def test_tls_is_verified() -> None:
    """Certificate required, host name checked, TLS 1.2 or newer."""
    context = tls_context(Connection.from_asset(GOOD))

    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"
    assert context.minimum_version.name == "TLSv1_2"


def test_a_private_ca_is_trusted_instead_of_the_systems() -> None:
    """Whoever gives one does not want every public CA to vouch for control as well."""
    pem = Authority().pem.decode()

    context = tls_context(Connection.from_asset({**GOOD, "ca_certificate": pem}))

    assert len(context.get_ca_certs()) == 1


def test_a_bundle_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    """Half of it would trust some of its authorities, and nobody could say which."""
    pem = Authority().pem
    (tmp_path / "bundle").write_bytes(pem * (256 * 1024 // len(pem)))
    (tmp_path / "longer").write_bytes(pem * (256 * 1024 // len(pem) + 1))

    whole = Connection.from_asset({**GOOD, "ca_certificate": str(tmp_path / "bundle")})

    assert whole.ca_certificate.count("BEGIN") == 256 * 1024 // len(pem)
    assert "256 KiB" in refusal(ca_certificate=str(tmp_path / "longer")).message


def test_i06_a_connection_shows_no_secret() -> None:
    """Neither printed, nor formatted, nor logged, nor pickled."""
    leaf = Authority().issue()
    connection = Connection.from_asset(
        {
            **GOOD,
            "client_certificate": leaf.chain.decode(),
            "client_key": leaf.key_pem.decode(),
            "proxy": "http://user:proxy-canary@proxy.example:3128",
        }
    )

    shown = f"{connection} {connection!r} {vars(connection)} {connection.api_token}"

    assert "canary" not in shown
    assert "PRIVATE KEY" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(connection)


def test_i06_negative_control_the_secret_is_there() -> None:
    """It is hidden, not lost."""
    connection = Connection.from_asset(GOOD)

    assert connection.api_token.reveal() == GOOD["api_token"]
    assert copy.copy(connection).api_token == Secret(GOOD["api_token"])
    assert Secret() != Secret("x")
    assert not Secret()


@pytest.mark.parametrize("slug", ["get-agent", "approve-everything"])
def test_a_bad_asset_is_a_result_and_no_exception(slug: str) -> None:
    """Adapters call ``perform`` and show what comes back."""
    result = perform(slug, asset={"verify": "false"}, parameters={}, key="")

    assert result["status"] == "FAILED"
    assert result["error"]["remedy"]
