# SPDX-License-Identifier: Apache-2.0
"""``notifications.yaml``: which channels there are, and what each is told.

Laws:

1. The file is strict like every other (``documents``): an unknown key is an error with file, line,
   key and remedy, and every problem is reported at once.
2. No secret stands in it. A secret is named by a file that only its owner can read, and no message
   shows any part of one, or of an address that may hold one.
3. Nothing here turns verification off. Without TLS only a loopback address written as a literal.
4. A channel that hears of nothing, or writes to nobody, is an error: it would only look like one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, create_model

from sidecar.documents import (
    MAX_BYTES,
    Document,
    DocumentErrors,
    parse_document,
    problems_of,
    read_regular_file,
    short,
)
from sidecar.errors import DocumentError, ErrorReason, HoldfastError
from sidecar.notify.channel import Route
from sidecar.notify.endpoint import check_address, is_loopback_literal, tls_context
from sidecar.notify.notice import NoticeKind
from sidecar.notify.secret import Secret
from sidecar.notify.slack import SLACK_API
from sidecar.notify.smtp import Security, is_mail_address
from sidecar.policy.fields import FileModel, Version
from sidecar.safe_paths import read_secret_file

__all__ = [
    "ChannelSpec",
    "SlackSpec",
    "SmtpSpec",
    "TeamsSpec",
    "WebhookSpec",
    "load_notifications",
]

MAX_CHANNELS: Final = 16
_MIN_SIGNING_SECRET: Final = 24
_MAX_SECRET: Final = 4096
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,30}").fullmatch
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|[0-9A-Fa-f:.]{2,45}").fullmatch
_SLACK_CHANNEL: Final = re.compile(r"#?[A-Za-z0-9_-]{1,80}").fullmatch
_WORD: Final = re.compile(r"[\x21-\x7e]{1,4096}").fullmatch
_LINE: Final = re.compile(r"[\x20-\x7e]{1,4096}").fullmatch
_ESCALATION_ONLY: Final = frozenset({NoticeKind.ESCALATION, NoticeKind.DECIDED})
_PORTS: Final = {Security.STARTTLS: 587, Security.TLS: 465, Security.NONE: 25}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSpec:
    """A receiver of signed JSON. ``secrets``: the newest first."""

    name: str
    route: Route
    address: Secret
    secrets: tuple[Secret, ...]
    is_pinged: bool
    ca_file: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpSpec:
    """A mail server. ``recipients`` are written to always, approvers if ``is_for_approvers``."""

    name: str
    route: Route
    host: str
    port: int
    security: Security
    user: str
    password: Secret | None
    sender: str
    recipients: tuple[str, ...]
    is_for_approvers: bool
    ca_file: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackSpec:
    """A channel of a Slack workspace."""

    name: str
    route: Route
    api: Secret
    token: Secret
    channel: str
    ca_file: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamsSpec:
    """A channel of Microsoft Teams."""

    name: str
    route: Route
    address: Secret
    ca_file: Path | None


ChannelSpec = WebhookSpec | SmtpSpec | SlackSpec | TeamsSpec


def load_notifications(path: Path) -> tuple[ChannelSpec, ...]:
    """Return the channels that the file *path* names, in its order.

    Raises:
        DocumentErrors: Naming for every problem file, line, key and remedy.
    """
    problems: list[DocumentError] = []
    data = read_regular_file(path, max_bytes=MAX_BYTES)
    document = parse_document(data, name=str(path), problems=problems)
    model = _model_of(document, problems)
    try:
        channels: Any = getattr(model.model_validate(document.data), "channels")  # noqa: B009
    except ValidationError as exc:
        problems += problems_of(exc, document=document, model=model)
        raise _errors(problems) from None  # its text quotes values
    reader = _Reader(document, problems)
    specs = [
        reader.spec(str(info.alias), getattr(channels, field))
        for field, info in type(channels).model_fields.items()
    ]
    if problems:
        raise _errors(problems)
    return tuple(spec for spec in specs if spec is not None)


# -- the form of the file -------------------------------------------------------------------------


def _checked(check: Callable[[str], object], wrong: str) -> AfterValidator:
    """Return a validator that says *wrong* without quoting the value."""

    def validate(value: str) -> str:
        if not check(value):
            raise ValueError(wrong)
        return value

    return AfterValidator(validate)


def _address(value: str) -> str:
    check_address(value)  # its message does not quote the value
    return value


_Address = Annotated[str, AfterValidator(_address)]
_FilePath = Annotated[
    str,
    _checked(
        lambda text: text.startswith("/") and text.isprintable(),
        "is not an absolute path; write the whole path, from / on",
    ),
]
_Mail = Annotated[str, _checked(is_mail_address, "is not a mail address like soc@example.com")]
_TierName = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]
_EventName = Literal["opened", "reminder", "escalation", "decided", "alert"]


class _Channel(FileModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    tiers: Annotated[list[_TierName], Field(min_length=1)] | None = None
    events: Annotated[list[_EventName], Field(min_length=1)] | None = None
    escalation_only: bool = False
    ca_file: _FilePath | None = None


class _Webhook(_Channel):
    kind: Literal["webhook"]
    url: _Address | None = None
    url_file: _FilePath | None = None
    secret_file: _FilePath
    previous_secret_file: _FilePath | None = None
    ping: bool = False


class _Smtp(_Channel):
    kind: Literal["smtp"]
    host: Annotated[str, _checked(_HOST, "is not the name or address of a host")]
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: Annotated[str, _checked(_LINE, "is not one line of ASCII")] | None = None
    password_file: _FilePath | None = None
    sender: Annotated[_Mail, Field(alias="from")]
    to: Annotated[list[_Mail], Field(max_length=20)] = Field(default_factory=list)
    approvers: bool = True


class _Slack(_Channel):
    kind: Literal["slack"]
    token_file: _FilePath
    channel: Annotated[str, _checked(_SLACK_CHANNEL, "is not a channel like C0123ABCD or #name")]
    api_url: _Address = SLACK_API


class _Teams(_Channel):
    kind: Literal["teams"]
    url_file: _FilePath


class _AnyKind(FileModel):
    """Stands in for a channel whose kind is not known, to say so."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    kind: Literal["webhook", "smtp", "slack", "teams"]


_KINDS: Final[dict[str, type[FileModel]]] = {
    "webhook": _Webhook,
    "smtp": _Smtp,
    "slack": _Slack,
    "teams": _Teams,
}


def _model_of(document: Document, problems: list[DocumentError]) -> type[FileModel]:
    """Return the model of exactly this file: a field per channel, of its kind's own form.

    So that a misspelt key is met with the keys of its kind, at its place.
    """
    data = document.data
    channels = data.get("channels") if isinstance(data, dict) else None
    fields: dict[str, Any] = {}
    for position, (name, body) in enumerate(channels.items() if isinstance(channels, dict) else ()):
        if not _NAME(name):
            problems.append(
                document.error(
                    ("channels", name),
                    f"{short(name)} is not a name",
                    hint="lower-case letters, digits and -, at most 31",
                )
            )
        if position == MAX_CHANNELS:
            problems.append(
                document.error(("channels", name), f"is one more than {MAX_CHANNELS} channels")
            )
        kind = body.get("kind") if isinstance(body, dict) else None
        form = _KINDS.get(kind, _AnyKind) if isinstance(kind, str) else _AnyKind
        fields[f"channel_{position}"] = (form, Field(alias=name))
    listed = create_model("_Channels", __base__=FileModel, **fields)
    return create_model(
        "_NotificationsFile", __base__=FileModel, version=(Version, ...), channels=(listed, ...)
    )


# -- what it means --------------------------------------------------------------------------------


class _Reader:
    """Turns parsed channels into specs; what is wrong goes to *problems*."""

    def __init__(self, document: Document, problems: list[DocumentError]) -> None:
        self._document = document
        self._problems = problems

    def spec(self, name: str, channel: _Channel) -> ChannelSpec | None:
        """Return what *channel* means, or None if something is wrong with it."""
        before = len(self._problems)
        route = self._route(name, channel)
        ca_file = Path(channel.ca_file) if channel.ca_file is not None else None
        try:
            if ca_file is not None:
                tls_context(ca_file)
        except ValueError as exc:
            self._problem(name, "ca_file", str(exc), "name the PEM file of the CA")
        spec: ChannelSpec | None = None
        if isinstance(channel, _Webhook):
            spec = self._webhook(name, channel, route, ca_file)
        elif isinstance(channel, _Smtp):
            spec = self._smtp(name, channel, route, ca_file)
        elif isinstance(channel, _Slack):
            spec = SlackSpec(
                name=name,
                route=route,
                api=Secret(channel.api_url.rstrip("/")),
                token=self._secret(name, "token_file", channel.token_file),
                channel=channel.channel,
                ca_file=ca_file,
            )
        elif isinstance(channel, _Teams):
            address = self._secret_address(name, channel.url_file)
            spec = TeamsSpec(name=name, route=route, address=address, ca_file=ca_file)
        return spec if len(self._problems) == before else None

    def _webhook(
        self, name: str, channel: _Webhook, route: Route, ca_file: Path | None
    ) -> WebhookSpec:
        if (channel.url is None) == (channel.url_file is None):
            self._problem(name, "", "needs either `url` or `url_file`", "keep one")
        if channel.url_file is not None:
            address = self._secret_address(name, channel.url_file)
        else:
            address = Secret(channel.url or "")
        files = [("secret_file", channel.secret_file)]
        if channel.previous_secret_file is not None:
            files.append(("previous_secret_file", channel.previous_secret_file))
        return WebhookSpec(
            name=name,
            route=route,
            address=address,
            secrets=tuple(
                self._secret(name, key, file, least=_MIN_SIGNING_SECRET) for key, file in files
            ),
            is_pinged=channel.ping,
            ca_file=ca_file,
        )

    def _smtp(self, name: str, channel: _Smtp, route: Route, ca_file: Path | None) -> SmtpSpec:
        security = Security(channel.security)
        if security is Security.NONE and not is_loopback_literal(channel.host):  # law 3
            self._problem(
                name,
                "security",
                "`none` is only for a loopback address",
                "use starttls or tls; for a server on this host write `host: 127.0.0.1`",
            )
        if (channel.user is None) != (channel.password_file is None):
            self._problem(name, "", "needs both of `user` and `password_file`, or neither", "")
        if not channel.approvers and not channel.to:  # law 4
            self._problem(name, "to", "writes to nobody", "list addresses, or set approvers: true")
        password = None
        if channel.password_file is not None:
            password = self._secret(name, "password_file", channel.password_file)
        return SmtpSpec(
            name=name,
            route=route,
            host=channel.host,
            port=channel.port or _PORTS[security],
            security=security,
            user=channel.user or "",
            password=password,
            sender=channel.sender,
            recipients=tuple(channel.to),
            is_for_approvers=channel.approvers,
            ca_file=ca_file,
        )

    def _route(self, name: str, channel: _Channel) -> Route:
        tiers = None if channel.tiers is None else frozenset[str](channel.tiers)
        if channel.escalation_only:
            if channel.events is not None:
                self._problem(
                    name,
                    "escalation_only",
                    "says what `events` says",
                    "keep one; it is short for events: [escalation, decided]",
                )
            return Route(events=_ESCALATION_ONLY, tiers=tiers)
        if channel.events is None:
            return Route(tiers=tiers)
        return Route(events=frozenset(NoticeKind(event) for event in channel.events), tiers=tiers)

    def _secret_address(self, name: str, file: str) -> Secret:
        before = len(self._problems)
        address = self._secret(name, "url_file", file)
        try:
            if len(self._problems) == before:
                check_address(address.reveal())
        except ValueError as exc:
            self._problem(name, "url_file", f"what {file} holds {exc}", "put the whole URL there")
        return address

    def _secret(self, name: str, key: str, file: str, *, least: int = 1) -> Secret:
        """Return what *file* holds, without the end of its line (law 2)."""
        try:
            text = read_secret_file(Path(file), max_bytes=_MAX_SECRET).decode("ascii")
        except HoldfastError as exc:
            self._problem(name, key, exc.message, exc.hint)
            return Secret("")
        except UnicodeDecodeError:
            text = ""
        text = text.removesuffix("\n").removesuffix("\r")
        if len(text) < least or not _LINE(text) or (key != "password_file" and not _WORD(text)):
            self._problem(
                name,
                key,
                f"{file} does not hold one line of at least {least} ASCII characters",
                "write the secret there and nothing else",
            )
        return Secret(text)

    def _problem(self, name: str, key: str, message: str, hint: str) -> None:
        place = ("channels", name, key) if key else ("channels", name)
        self._problems.append(self._document.error(place, message, hint=hint))


def _errors(problems: Sequence[DocumentError]) -> DocumentErrors:
    ordered = sorted(problems, key=lambda problem: problem.line or 0)
    return DocumentErrors(ordered, reason=ErrorReason.INVALID_CONFIGURATION)
