# SPDX-License-Identifier: Apache-2.0
"""The file that tokens are kept in: durable, ours alone, and never half read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.apitokens.store_sqlite import SqliteApiTokens
from sidecar.apitokens.values import ApiToken, digest_of, new_id, new_secret
from sidecar.errors import ConflictError, EnvironmentFailure, ErrorReason
from sidecar.model import Role


def _token(**fields: object) -> ApiToken:
    token_id = new_id()
    values: dict[str, object] = {
        "id": token_id,
        "operator": "soar",
        "identity": "spiffe://x/soar",
        "human_id": "",
        "permissions": frozenset({Role.CONTAIN}),
        "agents": frozenset({"banking"}),
        "description": "a playbook",
        "author": "carol",
        "hash": digest_of(new_secret(token_id)),
        "create_time_ns": 1,
        "expire_time_ns": 2,
    }
    return ApiToken(**{**values, **fields})  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store lies."""
    return tmp_path / "api_tokens.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteApiTokens]:
    """An empty store."""
    made = SqliteApiTokens(path)
    yield made
    made.close()


def test_what_was_added_is_there_after_a_restart(path: Path, store: SqliteApiTokens) -> None:
    """Field by field."""
    token = _token(permissions=frozenset({Role.CONTAIN, Role.RELEASE}), agents=frozenset())
    store.add(token, request_id="request-1", what="create")
    store.close()

    again = SqliteApiTokens(path)
    assert list(again.load_all()) == [token]
    assert again.order_of("request-1") == "create"
    assert again.order_of("request-2") == ""
    again.close()


def test_the_file_is_its_owners_alone_and_durable(path: Path, store: SqliteApiTokens) -> None:
    """Mode 0600, WAL, full sync."""
    assert path.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(path) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()
    assert store._connection is not None
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_request_id_is_one_order_for_ever(store: SqliteApiTokens) -> None:
    """A second order with it changes nothing."""
    first, second = _token(), _token()
    store.add(first, request_id="request-1", what="create a")

    with pytest.raises(ConflictError) as refused:
        store.add(second, request_id="request-1", what="create b")

    assert refused.value.reason is ErrorReason.REQUEST_ID_CONFLICT
    assert list(store.load_all()) == [first]


def test_a_rotation_replaces_the_secret_that_it_was_made_for(store: SqliteApiTokens) -> None:
    """By compare-and-swap: a second one from the same secret changes nothing."""
    token = _token()
    store.add(token, request_id="request-1", what="create")
    new = _token(id=token.id, previous_hash=token.hash, previous_expire_time_ns=2, rotate_time_ns=1)

    assert store.rotate(new, replaced=token.hash, request_id="request-2", what="rotate")
    assert not store.rotate(_token(id=token.id), replaced=token.hash, request_id="r-3", what="r")

    assert list(store.load_all()) == [new]


def test_what_is_revoked_stays_revoked(store: SqliteApiTokens) -> None:
    """Nothing that comes later gives it a new secret or another end."""
    token = _token()
    store.add(token, request_id="request-1", what="create")
    ended = _token(id=token.id, hash=token.hash, revoke_time_ns=5, revoker="a", revoke_reason="b")
    store.revoke(ended, request_id="request-2", what="revoke")

    store.revoke(_token(id=token.id, revoke_time_ns=9), request_id="request-2", what="revoke")
    is_rotated = store.rotate(
        _token(id=token.id), replaced=token.hash, request_id="request-3", what="rotate"
    )

    assert not is_rotated
    assert list(store.load_all()) == [ended]


def test_a_use_never_moves_back(store: SqliteApiTokens) -> None:
    """The latest counts; a token that is not there is no error."""
    token = _token()
    store.add(token, request_id="request-1", what="create")
    store.note_uses({token.id: 120, "gone": 5})
    store.note_uses({token.id: 60})

    assert store.load_all()[0].use_time_ns == 120


@pytest.mark.parametrize(
    "content",
    [b"not a database" * 100, b"SQLite format 3\x00" + b"\xff" * 4096],
    ids=["text", "header alone"],
)
def test_a_corrupt_file_is_not_used(path: Path, content: bytes) -> None:
    """It is left as it is, and the error says what to do."""
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(EnvironmentFailure) as refused:
        SqliteApiTokens(path)

    assert refused.value.reason is ErrorReason.STORE_UNAVAILABLE
    assert "backup" in refused.value.hint
    assert path.read_bytes() == content


def test_a_newer_version_is_not_used(path: Path, store: SqliteApiTokens) -> None:
    """A program that does not know its columns keeps its hands off."""
    store.close()
    with sqlite3.connect(path) as other:
        other.execute("UPDATE api_token_schema SET version = 2")
    other.close()

    with pytest.raises(EnvironmentFailure, match="version"):
        SqliteApiTokens(path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Nobody makes control create a file elsewhere."""
    (tmp_path / "link.db").symlink_to(tmp_path / "elsewhere.db")

    with pytest.raises(EnvironmentFailure):
        SqliteApiTokens(tmp_path / "link.db")
    assert not (tmp_path / "elsewhere.db").exists()


def test_a_closed_store_says_so(store: SqliteApiTokens) -> None:
    """Every method."""
    store.close()

    for call in (
        store.load_all,
        lambda: store.order_of("request-1"),
        lambda: store.add(_token(), request_id="request-1", what="x"),
        lambda: store.note_uses({"a": 1}),
    ):
        with pytest.raises(EnvironmentFailure, match="is closed"):
            call()  # type: ignore[operator]
