# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI 3.1 and Swagger 2.0 documents, judged by validators that are not ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.soar.venvs import python_of

_PLACE = Path(__file__).resolve().parents[2] / "sidecar" / "jsonapi"
_DOCUMENTS = ("openapi.json", "swagger.json")


@pytest.fixture(scope="module")
def interpreter() -> Path:
    """The Python that has the validators."""
    found = python_of("http")
    if isinstance(found, str):
        print(f"  http documents NOT RUN: {found}", file=sys.__stderr__, flush=True)
        pytest.skip(found)
    return found


def _validated(interpreter: Path, document: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(interpreter), "-m", "openapi_spec_validator", str(document)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_PLACE / name).read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", _DOCUMENTS)
def test_the_document_is_valid(interpreter: Path, name: str) -> None:
    """openapi-spec-validator finds nothing, references included."""
    done = _validated(interpreter, _PLACE / name)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", _DOCUMENTS)
def test_a_broken_document_is_found_negative_control(
    interpreter: Path, tmp_path: Path, name: str
) -> None:
    """A document that has no title is none."""
    document = _read(name)
    del document["info"]["title"]
    broken = tmp_path / name
    broken.write_text(json.dumps(document))

    assert _validated(interpreter, broken).returncode != 0


def test_swagger_has_what_connectors_show() -> None:
    """Every operation and field has a summary; what is secondary is marked as advanced."""
    document = _read("swagger.json")
    for path, item in document["paths"].items():
        for operation in item.values():
            assert operation["summary"], path
            assert operation["operationId"].isidentifier()
            for parameter in operation.get("parameters", []):
                assert parameter["x-ms-summary"], path
    order = document["definitions"]["ContainRequest"]["properties"]
    assert order["reason"]["x-ms-summary"] == "Reason"
    assert order["reason"]["x-ms-visibility"] == "important"
    assert order["requestId"]["x-ms-visibility"] == "advanced"
    assert document["securityDefinitions"]["bearer"]["in"] == "header"


def test_both_documents_say_the_same() -> None:
    """The same operations, messages and fields in either dialect."""
    openapi, swagger = map(_read, _DOCUMENTS)
    schemas = openapi["components"]["schemas"]

    assert set(openapi["paths"]) == set(swagger["paths"])
    assert set(schemas) == set(swagger["definitions"])
    for name, schema in schemas.items():
        other = swagger["definitions"][name]
        assert set(schema.get("properties", {})) == set(other.get("properties", {})), name
        assert schema.get("required") == other.get("required"), name
