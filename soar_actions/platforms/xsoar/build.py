# SPDX-License-Identifier: Apache-2.0
"""The pack as the platform installs it: a tree for its own tools, and a zip to upload.

The zip is ours and not ``demisto-sdk zip-packs``': the same source makes the same bytes, on a machine
without that tool too. A test of ours holds its content against what that tool makes of the same tree.

Law: the integration's file gets the portable code as text, and loads it as a module of its own. The
platform joins that file with ``CommonServerPython`` into one program, in which a ``from __future__``
further down is a syntax error and any public name of ours could replace one of the platform's.
"""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Final

import yaml

from soar_actions.catalogue import ACTIONS
from soar_actions.packages.vendor import single_file
from soar_actions.platforms.xsoar.naming import command_of

__all__ = ["VERSION", "assemble", "build", "integration_script", "unified"]

_ARTEFACT: Final = Path(__file__).resolve().parent / "artefact"
VERSION: Final[str] = json.loads((_ARTEFACT / "Packs/Holdfast/pack_metadata.json").read_text())[
    "currentVersion"
]
_MARK: Final = 'ACTIONS_SOURCE = ""  # HOLDFAST-ACTIONS\n'
_COMMANDS: Final = "COMMANDS: dict = {}  # HOLDFAST-COMMANDS\n"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_FRAME: Final = """register_module_line('Holdfast', 'start', __line__())
CONSTANT_PACK_VERSION = '{version}'
demisto.debug('pack id = Holdfast, pack version = {version}')
{script}
register_module_line('Holdfast', 'end', __line__())
"""
"""What the platform's own tool puts around a script, so that tracebacks name lines of ours."""
_PLATFORM_IMPORTS: Final = re.compile(
    r"import demistomock as demisto[ \t]*(#.*)?"
    r"|from CommonServerPython import \*[ \t]*(#.*)?"
    r"|from CommonServerUserPython import \*[ \t]*(#.*)?"
)


def integration_script() -> str:
    """Return the integration's file as it ships, with the portable code in it.

    Raises:
        ValueError: The adapter has no place for it, or the code cannot be written as a raw text.
    """
    adapter = (_ARTEFACT / "Packs/Holdfast/Integrations/Holdfast/Holdfast.py").read_text("utf-8")
    source = single_file()
    if adapter.count(_MARK) != 1 or adapter.count(_COMMANDS) != 1:
        raise ValueError("the adapter has no single place for the actions' code and commands")
    if "'''" in source or source.endswith("\\"):
        raise ValueError("the actions' code cannot stand in a raw text of three quotes")
    table = {command_of(slug): slug for slug in sorted(ACTIONS)}
    rows = "".join(f'    "{name}": "{slug}",\n' for name, slug in sorted(table.items()))
    adapter = adapter.replace(_COMMANDS, f"COMMANDS: dict = {{\n{rows}}}\n")
    return adapter.replace(_MARK, f"ACTIONS_SOURCE = r'''{source}'''\n")


def assemble(directory: Path) -> Path:
    """Make the pack's tree in *directory*/Packs, and return ``Packs/Holdfast``."""
    pack = directory / "Packs" / "Holdfast"
    shutil.copytree(
        _ARTEFACT / "Packs" / "Holdfast",
        pack,
        ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".pytest_cache"),
    )
    script = pack / "Integrations" / "Holdfast" / "Holdfast.py"
    script.write_text(integration_script(), encoding="utf-8", newline="\n")
    return pack


def build(destination: Path) -> list[Path]:
    """Make the uploadable zip and the archive of the tree in *destination*; return their paths."""
    destination.mkdir(parents=True, exist_ok=True)
    upload = destination / f"holdfast-xsoar-{VERSION}.zip"
    tree = destination / f"holdfast-xsoar-{VERSION}-source.zip"
    with tempfile.TemporaryDirectory() as scratch:
        pack = assemble(Path(scratch))
        tree.write_bytes(_zipped({p.relative_to(pack.parent).as_posix(): p for p in _files(pack)}))
        unify(pack)
        upload.write_bytes(_zipped({p.relative_to(pack).as_posix(): p for p in _files(pack)}))
    return [upload, tree]


def unified(pack: Path) -> dict[str, Any]:
    """Return the integration of *pack* as one declaration, script, picture and text included."""
    place = pack / "Integrations" / "Holdfast"
    declared: dict[str, Any] = yaml.safe_load((place / "Holdfast.yml").read_text("utf-8"))
    script = _PLATFORM_IMPORTS.sub("", (place / "Holdfast.py").read_text("utf-8"))
    declared["script"]["script"] = _FRAME.format(version=VERSION, script=script)
    picture = base64.b64encode((place / "Holdfast_image.png").read_bytes()).decode()
    declared["image"] = f"data:image/png;base64,{picture}"
    declared["detaileddescription"] = (place / "Holdfast_description.md").read_text("utf-8")
    return declared


def unify(pack: Path) -> None:
    """Turn the tree *pack* into what the platform takes: one file for the integration."""
    place = pack / "Integrations" / "Holdfast"
    text = yaml.safe_dump(unified(pack), sort_keys=False, allow_unicode=True, width=1_000_000)
    metadata = json.dumps(_metadata(pack), indent=4) + "\n"
    (pack / "metadata.json").write_text(metadata, encoding="utf-8", newline="\n")
    for extra in (
        *pack.glob("Playbooks/*_README.md"),
        pack / ".pack-ignore",
        pack / ".secrets-ignore",
    ):
        extra.unlink()
    shutil.rmtree(place)
    (place.parent / "integration-Holdfast.yml").write_text(text, encoding="utf-8", newline="\n")


def _metadata(pack: Path) -> dict[str, Any]:
    """Return what the platform's marketplace knows of the pack, as its own tool writes it."""
    said = json.loads((pack / "pack_metadata.json").read_text("utf-8"))
    declared = yaml.safe_load((pack / "Integrations/Holdfast/Holdfast.yml").read_text("utf-8"))
    playbooks = [
        yaml.safe_load(path.read_text("utf-8")) for path in sorted(pack.glob("Playbooks/*.yml"))
    ]
    items: dict[str, Any] = {
        "playbook": [{key: one[key] for key in ("name", "description")} for one in playbooks],
        "integration": [
            {
                "name": declared["display"],
                "description": declared["description"],
                "category": declared["category"],
                "commands": [
                    {key: one[key] for key in ("name", "description")}
                    for one in declared["script"]["commands"]
                ],
            }
        ],
    }
    return {
        "name": said["name"],
        "id": said["name"],
        "description": said["description"],
        "created": "2026-01-01T00:00:00Z",
        "updated": "2026-01-01T00:00:00Z",
        "legacy": True,
        "support": said["support"],
        "supportDetails": {},
        "author": said["author"],
        "certification": "",
        "price": 0,
        "serverMinVersion": "0.0.0",
        "currentVersion": said["currentVersion"],
        "tags": said["tags"],
        "categories": said["categories"],
        "contentItems": items,
        "useCases": said["useCases"],
        "keywords": said["keywords"],
        "dependencies": {},
    }


def _files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def _zipped(files: dict[str, Path]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in sorted(files.items()):
            member = zipfile.ZipInfo(name, _EPOCH)
            member.external_attr = 0o644 << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, path.read_bytes())
    return packed.getvalue()
