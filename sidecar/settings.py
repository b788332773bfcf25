# SPDX-License-Identifier: Apache-2.0
"""Everything a process needs to know before it starts, in one frozen value.

Laws:

1. Flag, then environment (``HOLDFAST_<NAME>``), then file, then default; per setting, and each
   remembers where it came from.
2. The file is ``--config``, else ``$HOLDFAST_CONFIG``, else ``/etc/holdfast/holdfast.yaml`` if that
   is there. A file that was named and is not there is an error.
3. What we do not know is an error wherever it stands: a misspelt setting would silently be the
   default of another. Every problem of file, environment and flags is reported at once.
4. No setting weakens "fail closed": nothing here can make a call pass that would not pass without
   it. Bounds are part of this: a staleness of an hour would be such a setting.
5. Nothing here is a secret. Keys are named by their files.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import rfc8785
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
)
from pydantic.fields import FieldInfo

from sidecar.documents import (
    Document,
    DocumentErrors,
    closest,
    did_you_mean,
    load_document,
    short,
)
from sidecar.errors import ConfigurationError, DocumentError, UntrustedInputError
from sidecar.identifiers import CONTROL_LOG, check_gate_id
from sidecar.layout import StateLayout, default_state_dir

__all__ = [
    "CONFIG_VARIABLE",
    "DEFAULT_CONFIG",
    "ENVIRONMENT_PREFIX",
    "TOLERATED_VARIABLES",
    "ConfigurationErrors",
    "Settings",
    "config_in_use",
    "default_bundle",
    "flag_of",
    "form_of",
    "locate_state",
    "pass_on",
    "split_address",
    "variable_of",
]

DEFAULT_CONFIG: Final = Path("/etc/holdfast/holdfast.yaml")
ENVIRONMENT_PREFIX: Final = "HOLDFAST_"
CONFIG_VARIABLE: Final = "HOLDFAST_CONFIG"
TOLERATED_VARIABLES: Final = frozenset(
    {
        CONFIG_VARIABLE,
        # What an agent's process and its SDK read; it may run holdfast commands too.
        "HOLDFAST_ADDRESS",
        "HOLDFAST_SESSION",
        "HOLDFAST_DEADLINE_MS",
        "HOLDFAST_HOLD_TIMEOUT_MS",
        "HOLDFAST_TOKEN_FILE",
        # What `holdfast health` asks when it is not told; set in container images.
        "HOLDFAST_HEALTH_SOCKET",
        # What commands show control instead of a certificate.
        "HOLDFAST_API_TOKEN_FILE",
    }
)
_MAY_BE_EMPTY: Final = frozenset({"metrics_listen", "console_listen", "api_listen", "token_listen"})
_MAX_NAME: Final = 63
_WEAKENING: Final = re.compile(
    r"insecure|fail_?open|open_?on|allow_?all|permissive|disable|bypass|skip|unsafe|no_?(?:auth|tls"
    r"|verify)|ignore|dry_?run|soft",
    re.IGNORECASE,
)
_ORIGIN: Final = re.compile(
    r"(?:https://[a-z0-9](?:[a-z0-9.-]{0,252})|http://(?:localhost|127\.0\.0\.1|\[::1\]))(?::[1-9][0-9]{0,4})?"
).fullmatch
_ISSUER: Final = re.compile(
    r"(?:https://[a-z0-9](?:[a-z0-9.-]{0,252})|http://(?:localhost|127\.0\.0\.1|\[::1\]))"
    r"(?::[1-9][0-9]{0,4})?(?:/[A-Za-z0-9._~/-]*)?"
).fullmatch
_KINDS: Final = (
    ("int", "a whole number"),
    ("float", "a number"),
    ("finite", "a finite number"),
    ("string", "text"),
)
_NO_SUCH_KNOB: Final = (
    "no setting lets a call pass that could not be decided, and none turns a check off; remove it"
)


class ConfigurationErrors(DocumentErrors, ConfigurationError):
    """Every problem of the file, the environment and the flags together; ``all`` holds each."""


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[IPv6]:port``.

    Raises:
        ValueError: *text* is neither; the message says what to write.
    """
    host, separator, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not separator or not host:
        raise ValueError(
            f"{short(text)} is not host:port; write for example 127.0.0.1:7443 "
            "(0.0.0.0 for every interface)"
        )
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise ValueError(f"{short(text)} has no port between 1 and 65535")
    if ":" in host and not _is_ipv6(host):
        raise ValueError(
            f"{short(text)} is ambiguous; write an IPv6 address in brackets: [::1]:7443"
        )
    if not _is_host(bare):
        raise ValueError(f"{short(text)} names no host: only letters, digits, dots and hyphens")
    return bare, int(port)


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host[1:-1] if host.startswith("[") and host.endswith("]") else "")
    except ValueError:
        return False
    return True


def _is_host(host: str) -> bool:
    return ":" in host or re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})", host) is not None


def _address(text: str) -> str:
    split_address(text)
    return text


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address_or_off(text: str) -> str:
    return _address(text) if text else text


def _origin_or_none(text: str) -> str:
    if text and not _ORIGIN(text):
        raise ValueError(
            f"{short(text)} is not scheme, host and port alone; write for example "
            "https://holdfast.example.com"
        )
    return text


def _origin_or_none_with_path(text: str) -> str:
    if text and not _ISSUER(text):
        raise ValueError(
            f"{short(text)} is not the URL of an issuer; write it as the provider does, for "
            "example https://idp.example.com/realms/security"
        )
    return text


def _to_path(value: Any) -> Any:
    if isinstance(value, Path) or value is None:
        return value
    if not isinstance(value, str):
        raise ValueError(f"{short(value)} is not text; write an absolute path")
    if not value:
        raise ValueError("is an empty path; give an absolute path, or leave it out")
    if not value.isprintable():
        raise ValueError("holds a character that cannot be printed; give an ordinary path")
    return Path(value)


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError(f"{short(str(path))} is not absolute; write the whole path, from / on")
    return Path(os.path.normpath(path))


def _gate_name(text: str) -> str:
    try:
        return check_gate_id(text)
    except UntrustedInputError as exc:
        raise ValueError(
            f"{short(text)} names no gate: [a-z0-9][a-z0-9._-]{{0,62}} does, but not {CONTROL_LOG}; "
            "use lower-case letters, digits, dots, hyphens"
        ) from exc


AbsolutePath = Annotated[Path, BeforeValidator(_to_path), AfterValidator(_absolute)]
Address = Annotated[str, AfterValidator(_address)]
GateId = Annotated[str, AfterValidator(_gate_name)]


def _unit(unit: str) -> dict[str, Any]:
    return {"unit": unit}


class Settings(BaseModel):
    """One process's settings. ``load`` reads them; the constructor takes values for tests."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    state_dir: AbsolutePath = Field(
        default_factory=lambda: Path.cwd() / default_state_dir(),
        description="Where the latch, the logs, the database and the keys lie.",
        examples=["/var/lib/holdfast"],
    )
    runtime_dir: AbsolutePath = Field(
        default_factory=lambda values: values["state_dir"] / "run",
        description="Where the sockets lie. Keep it short: a socket path has at most 107 bytes.",
        examples=["/run/holdfast"],
    )
    bundle: AbsolutePath | None = Field(
        default=None,
        description="Directory of the policy bundle. Control needs it; with --dev a built-in one "
        "is the default.",
        examples=["/etc/holdfast/bundle"],
    )
    gate_id: GateId | None = Field(
        default=None,
        description="Name of this gate, in receipts and of its log. Default: the agents it serves, "
        "joined by hyphens, or the host's name if that is too long.",
        examples=["banking"],
    )
    listen: Address = Field(
        default="127.0.0.1:7443",
        description="Where control serves operators over mutual TLS.",
        examples=["0.0.0.0:7443"],
        json_schema_extra=_unit("host:port"),
    )
    api_listen: Annotated[str, AfterValidator(_address_or_off)] = Field(
        default="",
        description="Where control serves the same methods as JSON over HTTPS, with API tokens or "
        "client certificates; empty for nowhere, with `holdfast up --dev` 127.0.0.1:7445. Uses "
        "tls_certificate and tls_key: there is no plain HTTP.",
        examples=["0.0.0.0:7445"],
        json_schema_extra=_unit("host:port"),
    )
    token_listen: Annotated[str, AfterValidator(_address_or_off)] = Field(
        default="",
        description="Where control serves gRPC over TLS to callers with an API token and no client "
        "certificate; empty for nowhere, with `holdfast up --dev` 127.0.0.1:7446. Uses "
        "tls_certificate and tls_key.",
        examples=["0.0.0.0:7446"],
        json_schema_extra=_unit("host:port"),
    )
    tls_certificate: AbsolutePath | None = Field(
        default=None,
        description="Control's certificate chain, PEM. Required without --dev.",
        examples=["/etc/holdfast/tls/control.pem"],
    )
    tls_key: AbsolutePath | None = Field(
        default=None,
        description="Its private key, PEM, mode 0600. Required without --dev.",
        examples=["/etc/holdfast/tls/control.key"],
    )
    client_ca: AbsolutePath | None = Field(
        default=None,
        description="Certificates of the CA that signs operators, PEM. Required without --dev.",
        examples=["/etc/holdfast/tls/operators-ca.pem"],
    )
    max_staleness_s: float = Field(
        default=5.0,
        ge=0.5,
        le=30,
        allow_inf_nan=False,
        description="A gate denies everything once it has not heard of control for this long.",
        examples=[5],
        json_schema_extra=_unit("seconds"),
    )
    ack_timeout_s: float = Field(
        default=1.0,
        ge=0.1,
        le=10,
        allow_inf_nan=False,
        description="How long a receipt waits for gates before it names them laggards.",
        examples=[1],
        json_schema_extra=_unit("seconds"),
    )
    wide_blast_share: float = Field(
        default=0.5,
        ge=0.01,
        le=1,
        allow_inf_nan=False,
        description="A directive that covers more than this share of the agents needs the role "
        "break-glass.",
        examples=[0.5],
        json_schema_extra=_unit("share of 1"),
    )
    isolation_grace_s: float = Field(
        default=5.0,
        ge=0,
        le=60,
        allow_inf_nan=False,
        description="On KILL, how long a process group has between SIGTERM and SIGKILL.",
        examples=[5],
        json_schema_extra=_unit("seconds"),
    )
    max_in_flight: int = Field(
        default=256,
        ge=1,
        le=4096,
        description="Calls of one agent a gate decides at once; more are denied with OVERLOAD.",
        examples=[256],
        json_schema_extra=_unit("calls"),
    )
    outcomes_per_minute: int = Field(
        default=60_000,
        ge=60,
        le=1_000_000,
        description="Outcomes an agent may report to its gate; more are refused.",
        examples=[60000],
        json_schema_extra=_unit("outcomes per minute"),
    )
    log_style: Literal["auto", "json", "console"] = Field(
        default="auto",
        description="What a process prints about itself; auto is console on a terminal, else json.",
        examples=["json"],
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least it prints.", examples=["info"]
    )
    metrics_listen: Annotated[str, AfterValidator(_address_or_off)] = Field(
        default="",
        description="Where metrics are served in Prometheus' format; empty for nowhere.",
        examples=["127.0.0.1:9464"],
        json_schema_extra=_unit("host:port"),
    )
    console_listen: Annotated[str, AfterValidator(_address_or_off)] = Field(
        default="",
        description="Where control serves the approvers' console; empty for nowhere, with "
        "`holdfast up --dev` 127.0.0.1:7444. Beyond loopback it needs a certificate.",
        examples=["0.0.0.0:7444"],
        json_schema_extra=_unit("host:port"),
    )
    console_url: Annotated[str, AfterValidator(_origin_or_none)] = Field(
        default="",
        description="How people's browsers reach the console: scheme, host and port. Passkeys are "
        "bound to its host. Default: made from console_listen.",
        examples=["https://holdfast.example.com"],
    )
    console_certificate: AbsolutePath | None = Field(
        default=None,
        description="The console's certificate chain, PEM. Without one it is plain HTTP, and then "
        "on loopback only.",
        examples=["/etc/holdfast/tls/console.pem"],
    )
    console_key: AbsolutePath | None = Field(
        default=None,
        description="Its private key, PEM, mode 0600.",
        examples=["/etc/holdfast/tls/console.key"],
    )
    oidc_issuer: Annotated[str, AfterValidator(_origin_or_none_with_path)] = Field(
        default="",
        description="OpenID provider that approvers sign in with; empty for passkeys alone.",
        examples=["https://idp.example.com"],
    )
    oidc_client_id: str = Field(
        default="",
        description="How the provider knows this console.",
        examples=["holdfast"],
    )
    oidc_client_secret_file: AbsolutePath | None = Field(
        default=None,
        description="File that holds the client's secret, mode 0600; none for a public client.",
        examples=["/etc/holdfast/oidc.secret"],
    )
    notifications: AbsolutePath | None = Field(
        default=None,
        description="File that says how approvers are told of what waits for them (webhook, mail, "
        "Slack, Teams). Without one they look at the console or `holdfast approvals watch`.",
        examples=["/etc/holdfast/notifications.yaml"],
    )
    max_pending_approvals: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="Requests of one agent that may wait for humans at once; further calls that a "
        "human must decide are denied.",
        examples=[5],
        json_schema_extra=_unit("requests"),
    )
    anchor_file: AbsolutePath | None = Field(
        default=None,
        description="A second place for logs' checkpoints, on another disk or share: it shows when "
        "a log was cut. The name of the log is added to the file's.",
        examples=["/mnt/anchors/holdfast.jsonl"],
    )

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def load(
        cls,
        *,
        flags: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        config: Path | None = None,
        is_dev: bool = False,
    ) -> Settings:
        """Return the settings of this process (laws 1 to 3).

        Args:
            flags: Values given on the command line, by setting; None values were not given.
            environ: The environment; default ``os.environ``.
            config: The file that ``--config`` names.
            is_dev: Whether the built-in bundle stands in for a missing one.

        Raises:
            ConfigurationErrors: Naming for every problem the file, line and key, the variable or
                the flag, what is wrong and what to do.
        """
        found = _gather(
            flags=flags or {}, environ=os.environ if environ is None else environ, config=config
        )
        if not found.problems:
            found.problems.extend(_check_together(found.values))
        if found.problems:
            raise ConfigurationErrors(found.problems)
        if is_dev and "bundle" not in found.values:
            found.values["bundle"] = default_bundle()
            found.origins["bundle"] = "default with --dev"
        settings = cls(**found.values)
        settings._origins.update(found.origins)
        return settings

    @property
    def layout(self) -> StateLayout:
        """Where everything lies."""
        return StateLayout.of(self.state_dir, self.runtime_dir)

    def origin_of(self, name: str) -> str:
        """Return where the setting *name* came from: ``flag --x``, ``environment X``, …

        Raises:
            ValueError: There is no such setting.
        """
        if name not in type(self).model_fields:
            raise ValueError(f"no setting is called {name!r}")
        given = "argument" if name in self.model_fields_set else "default"
        return self._origins.get(name, given)

    def effective(self) -> dict[str, str | int | float | None]:
        """Return every setting with its value, as plain data."""
        return {
            name: str(value) if isinstance(value, Path) else value
            for name, value in ((name, getattr(self, name)) for name in type(self).model_fields)
        }

    def digest(self) -> str:
        """Return SHA-256 over the effective settings, in hex; a process logs it at its start."""
        return sha256(rfc8785.dumps(self.effective())).hexdigest()

    def gate_name(self, agents: Sequence[str]) -> str:
        """Return ``gate_id``, else the joined *agents*, else this host's name.

        Raises:
            ConfigurationError: None of them can name a gate.
        """
        if self.gate_id is not None:
            return self.gate_id
        for name in ("-".join(agents), socket.gethostname().lower()):
            if name and len(name) <= _MAX_NAME:
                try:
                    return check_gate_id(name)
                except UntrustedInputError:
                    continue
        raise ConfigurationError(
            "is not set, and neither the agents nor the host's name can stand in",
            key="gate_id",
            hint="name the gate with --gate-id",
        )

    def anchor_of(self, log: str) -> Path | None:
        """Return where the checkpoints of *log* are kept beside it; each log has its own file.

        Args:
            log: ``control``, or a gate's name.
        """
        if self.anchor_file is None:
            return None
        return self.anchor_file.with_stem(f"{self.anchor_file.stem}-{log}")

    @property
    def console_origin(self) -> str:
        """The console's origin as browsers see it; empty if control has no console."""
        if not self.console_listen or self.console_url:
            return self.console_url if self.console_listen else ""
        host, port = split_address(self.console_listen)
        scheme = "https" if self.console_certificate else "http"
        # Browsers give passkeys to names, never to addresses.
        name = "localhost" if _is_loopback(host) else host
        return f"{scheme}://{name}:{port}"

    def check_for_control(self, *, is_dev: bool) -> None:
        """Refuse settings with which control could not serve.

        Raises:
            ConfigurationErrors: Naming every setting that is missing.
        """
        wanted = ["bundle"] if is_dev else ["bundle", "tls_certificate", "tls_key", "client_ca"]
        problems: list[DocumentError] = [
            ConfigurationError(
                "is not set, and control cannot start without it",
                key=name,
                hint=f"give {flag_of(name)}, {variable_of(name)} or `{name}:` in the file"
                + ("" if is_dev else "; to try Holdfast out, use --dev"),
            )
            for name in wanted
            if getattr(self, name) is None
        ]
        if not is_dev and (self.tls_certificate is None or self.tls_key is None):
            problems += [
                ConfigurationError(
                    f"{getattr(self, name)} is served over TLS alone, and there is no certificate",
                    key=name,
                    hint="give tls_certificate and tls_key, or leave it out; there is no plain text",
                )
                for name in ("api_listen", "token_listen")
                if getattr(self, name)
            ]
        if problems:
            raise ConfigurationErrors(problems)


def default_bundle() -> Path:
    """Return the bundle that comes with Holdfast, for ``--dev``."""
    return Path(__file__).resolve().parent / "defaults" / "bundle"


def flag_of(name: str) -> str:
    """Return the flag of the setting *name*."""
    return "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    """Return the environment variable of the setting *name*."""
    return ENVIRONMENT_PREFIX + name.upper()


def config_in_use(
    *, environ: Mapping[str, str] | None = None, config: Path | None = None
) -> Path | None:
    """Return the settings file that ``load`` would read, or None if there is none."""
    path, is_named = _config_path(os.environ if environ is None else environ, config, [])
    return path if path is not None and (is_named or path.exists()) else None


def pass_on(flags: Mapping[str, Any], config: Path | None) -> None:
    """Put what was said on the command line into the environment, for processes we start."""
    for name, value in flags.items():
        if value is not None:
            is_path = _is_path(name)
            os.environ[variable_of(name)] = str(Path.cwd() / value) if is_path else str(value)
    if config is not None:
        os.environ[CONFIG_VARIABLE] = str(Path.cwd() / config)


def locate_state(
    *,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> tuple[StateLayout, str, list[DocumentError]]:
    """Return where a running Holdfast is: its layout, its ``listen``, and what was wrong.

    For commands that only speak to it. A mistake in a file must not stand between an operator and
    the kill switch, so what is right is used and the rest is told.
    """
    found = _gather(
        flags=flags or {}, environ=os.environ if environ is None else environ, config=config
    )
    names = ("state_dir", "runtime_dir", "listen")
    settings = Settings(**{name: found.values[name] for name in names if name in found.values})
    return settings.layout, settings.listen, found.problems


class _Found:
    """What the sources say, before it is put together."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.problems: list[DocumentError] = []

    def take(self, name: str, value: Any, origin: str) -> None:
        self.values[name] = value
        self.origins[name] = origin


def _gather(*, flags: Mapping[str, Any], environ: Mapping[str, str], config: Path | None) -> _Found:
    """Read all sources, the weakest first (law 1)."""
    found = _Found()
    path, is_named = _config_path(environ, config, found.problems)
    if path is not None and (is_named or path.exists()):
        _take_file(path, found)
    _take_environment(environ, found)
    for name, value in flags.items():
        if value is not None:
            _take_text(name, value, f"flag {flag_of(name)}", found)
    return found


def _config_path(
    environ: Mapping[str, str], config: Path | None, problems: list[DocumentError]
) -> tuple[Path | None, bool]:
    if config is not None:
        return config, True
    named = environ.get(CONFIG_VARIABLE)
    if named is None:
        return DEFAULT_CONFIG, False
    if not named:
        problems.append(_empty_variable(CONFIG_VARIABLE))
        return None, False
    return Path(named), True


def _take_file(path: Path, found: _Found) -> None:
    try:
        document = load_document(path)
    except DocumentErrors as exc:
        found.problems.extend(exc.all)
        return
    fields = Settings.model_fields
    for key, value in document.data.items():
        if key == "version":
            if value != 1 or isinstance(value, bool):
                found.problems.append(
                    document.error((key,), f"{short(value)} is not 1", hint="write `version: 1`")
                )
        elif key not in fields:
            found.problems.append(
                document.error(
                    (key,), f"unknown setting {short(key)}", hint=_unknown_hint(key, fields)
                )
            )
        else:
            _take_from_file(document, key, value, found)


def _take_from_file(document: Document, key: str, value: Any, found: _Found) -> None:
    try:
        checked = _adapter(key).validate_python(value, strict=True)
    except ValidationError as exc:
        message, hint = _sentence(key, exc)
        found.problems.append(document.error((key,), message, hint=hint))
        return
    if checked is None:  # `bundle: null` says what leaving it out says
        return
    found.take(key, checked, f"file {document.path}:{document.line_of((key,))}")


def _take_environment(environ: Mapping[str, str], found: _Found) -> None:
    known = {variable_of(name): name for name in Settings.model_fields}
    for variable, value in sorted(environ.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in TOLERATED_VARIABLES:
            continue
        name = known.get(variable)
        if name is None:
            found.problems.append(
                ConfigurationError(
                    "is not a setting of Holdfast",
                    key=f"environment variable {_shown_variable(variable)}",
                    hint=_unknown_hint(variable, known, prefix=ENVIRONMENT_PREFIX),
                )
            )
        elif not value and name not in _MAY_BE_EMPTY:
            found.problems.append(_empty_variable(variable))
        else:
            _take_text(name, value, f"environment variable {variable}", found)


def _take_text(name: str, value: Any, origin: str, found: _Found) -> None:
    """Take a value that a person gave as text, in the environment or as a flag."""
    if isinstance(value, (str, Path)) and str(value) and _is_path(name):
        value = os.path.abspath(value)
    try:
        checked = _adapter(name).validate_python(value)
    except ValidationError as exc:
        message, hint = _sentence(name, exc)
        found.problems.append(
            ConfigurationError(message, key=origin.removeprefix("flag "), hint=hint)
        )
        return
    found.take(name, checked, origin)


def _check_together(values: Mapping[str, Any]) -> Iterable[DocumentError]:
    names = ("tls_certificate", "tls_key", "client_ca")
    given = [name for name in names if name in values]
    if given and len(given) < len(names):
        for name in names:
            if name not in values:
                yield ConfigurationError(
                    f"is missing beside {' and '.join(given)}",
                    key=name,
                    hint="give all three: certificate, key and the CA of the operators",
                )
    yield from _check_console(values)
    yield from _check_listeners(values)


def _check_listeners(values: Mapping[str, Any]) -> Iterable[DocumentError]:
    default = str(Settings.model_fields["listen"].default)
    taken: dict[str, str] = {}
    for name in ("listen", "token_listen", "api_listen", "console_listen"):
        address = values.get(name, default if name == "listen" else "")
        if address and address in taken:
            yield ConfigurationError(
                f"{short(address)} is {taken[address]} already",
                key=name,
                hint="give each listener a port of its own",
            )
        elif address:
            taken[address] = name


def _check_console(values: Mapping[str, Any]) -> Iterable[DocumentError]:
    for name, other in (
        ("console_certificate", "console_key"),
        ("console_key", "console_certificate"),
        ("oidc_issuer", "oidc_client_id"),
        ("oidc_client_id", "oidc_issuer"),
    ):
        if values.get(name) and not values.get(other):
            yield ConfigurationError(
                f"is missing beside {name}", key=other, hint="give both, or neither"
            )
    listen = values.get("console_listen")
    if listen and not values.get("console_certificate"):
        host, _port = split_address(listen)
        if not _is_loopback(host):
            yield ConfigurationError(
                f"{short(listen)} is beyond loopback, and the console has no certificate",
                key="console_listen",
                hint="give console_certificate and console_key, or listen on 127.0.0.1 behind a "
                "proxy that speaks TLS",
            )


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    info: FieldInfo = Settings.model_fields[name]
    annotation: Any = info.annotation
    return TypeAdapter(Annotated[(annotation, *info.metadata)] if info.metadata else annotation)


def _is_path(name: str) -> bool:
    return "Path" in str(Settings.model_fields[name].annotation)


def _sentence(name: str, exc: ValidationError) -> tuple[str, str]:
    """Return what is wrong with a value of the setting *name*, and what to write instead."""
    error = exc.errors(include_url=False)[0]
    kind, context = error["type"], error.get("ctx", {})
    value = short(error["input"])
    form = form_of(name)
    if kind == "value_error":
        message, separator, hint = str(context.get("error", "")).partition("; ")
        return message, hint if separator else form
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        return f"{value} is not one of {', '.join(choices)}", did_you_mean(value, choices) or form
    if kind == "greater_than_equal":
        return f"{value} is less than {context['ge']:g}", form
    if kind == "less_than_equal":
        return f"{value} is more than {context['le']:g}", form
    wanted = next((text for word, text in _KINDS if kind.startswith(word)), "what it must be")
    return f"{value} is not {wanted}", form


def form_of(name: str) -> str:
    """Return unit, bounds and example of the setting *name*, in a sentence."""
    info = Settings.model_fields[name]
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    bounds = [
        f"{word} {limit:g}"
        for word, limit in (
            ("at least", _bound(info, "ge")),
            ("at most", _bound(info, "le")),
        )
        if limit is not None
    ]
    parts = [str(extra["unit"])] if "unit" in extra else []
    parts += [" and ".join(bounds)] if bounds else []
    example = f"for example {info.examples[0]}" if info.examples else ""
    return ", ".join([*parts, example] if example else parts)


def _bound(info: FieldInfo, name: str) -> float | None:
    values: Iterable[Any] = (getattr(item, name, None) for item in info.metadata)
    return next((value for value in values if value is not None), None)


def _unknown_hint(word: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Return what to do about a *word* that is not *known*; *prefix* is common to all."""
    if _WEAKENING.search(word):
        return _NO_SUCH_KNOB
    meant = closest(word.removeprefix(prefix), [name.removeprefix(prefix) for name in known])
    if meant is not None:
        return f'did you mean "{prefix}{meant}"?'
    return "remove it; `holdfast config reference` lists what there is"


def _shown_variable(variable: str) -> str:
    return variable if re.fullmatch(r"[A-Z0-9_]{1,100}", variable) else short(variable)


def _empty_variable(variable: str) -> ConfigurationError:
    return ConfigurationError(
        "is empty", key=f"environment variable {variable}", hint="unset it or give it a value"
    )
