# SPDX-License-Identifier: Apache-2.0
"""Runs commands of the shipped integration as the platform's own loop does.

Run by ``xsoar.py`` in the platform's environment, with nothing of ours on the path. The platform joins
``CommonServerPython``, ``CommonServerUserPython`` and the integration's script into one program and
executes it afresh for every command, in a process that stays; so does this. One JSON line in, one out.

Arguments: the folder of ``demistomock.py``, the folder of ``CommonServerPython.py``, the unified
integration (JSON).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any


def main() -> None:
    mock, common, unified = (Path(argument) for argument in sys.argv[1:4])
    sys.path.insert(0, str(mock))
    import demistomock as demisto  # type: ignore[import-not-found]

    # The program starts with the platform's part, so that nothing of ours can be what a compiler
    # accepts at the start of a file alone.
    head = (common / "CommonServerPython.py").read_text(encoding="utf-8")
    head = re.sub(r"^import demistomock as demisto.*$", "", head, flags=re.MULTILINE)
    script = json.loads(unified.read_text(encoding="utf-8"))["script"]["script"]
    program = compile(f"{head}\n{script}", "integration", "exec", dont_inherit=True)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        answer = _one(json.loads(line), program, demisto)
        print(json.dumps(answer), flush=True)


def _one(order: dict[str, Any], program: Any, demisto: Any) -> dict[str, Any]:
    entries: list[Any] = []
    logged: list[str] = []
    files = iter(range(1, 1000))

    def log(*said: Any) -> None:
        logged.append(" ".join(map(str, said)))

    def results(said: Any) -> None:
        entries.extend(said if isinstance(said, list) else [said])

    for name in ("log", "debug", "info", "error"):
        setattr(demisto, name, log)
    demisto.results = results
    demisto.params = lambda: order["params"]
    demisto.args = lambda: order["args"]
    demisto.command = lambda: order["command"]
    demisto.getParam = lambda name: order["params"].get(name)
    demisto.investigation = lambda: {"id": order["incident"]}
    demisto.uniqueFile = lambda: str(next(files))
    demisto.demistoVersion = lambda: {"version": "6.10.0", "buildNumber": "1"}
    demisto.callingContext = {"context": order["context"], "integration": True}
    environment = dict(os.environ)
    printed, ended = io.StringIO(), ""
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            exec(program, {"__name__": "__main__", "demisto": demisto})
        except SystemExit:
            pass
        except BaseException:  # noqa: BLE001 - whatever it is, the server is told
            ended = traceback.format_exc()
    os.environ.clear()
    os.environ.update(environment)
    return {
        "entries": entries,
        "logged": logged,
        "printed": printed.getvalue(),
        "uncaught": ended,
        "files": {path.name: path.read_text() for path in Path.cwd().iterdir() if path.is_file()},
    }


if __name__ == "__main__":
    main()
