# SPDX-License-Identifier: Apache-2.0
"""Runs in Shuffle's environment: starts the app as Shuffle's worker does, by environment and ``run``.

``python shuffle_worker.py <app>/src`` imports the app once; each line of input is a request, each
line of output what the app's process printed. An action has a forked process of its own, as it has
a container of its own on Shuffle; its result goes to the backend that the request names.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
import tempfile
import traceback
from typing import Any


def main() -> None:
    """Answer requests until the input ends."""
    sys.path.insert(0, sys.argv[1])
    os.chdir(sys.argv[1])
    sys.argv = ["app.py"]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    apps = {"holdfast": __import__("app").Holdfast, "tools": _tools()}
    versions = {
        "shuffle-sdk": importlib.metadata.version("shuffle-sdk"),
        "python": platform.python_version(),
    }
    print(json.dumps(versions), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_apart(apps, json.loads(line))), file=answers, flush=True)


def _tools() -> Any:
    """Return a stand-in of ours for the one action of Shuffle Tools that our workflows use."""
    from shuffle_sdk import AppBase

    class Tools(AppBase):  # type: ignore[misc]
        __version__ = "1.2.0"
        app_name = "Shuffle Tools"

        def repeat_back_to_me(self, call: str) -> str:
            return call

    return Tools


def _with_templates() -> None:
    """Give the SDK its template engine back: in a container of its own nobody has taken it away."""
    from liquid import Liquid
    from shuffle_sdk import AppBase

    sys.modules[AppBase.__module__].Liquid = Liquid  # type: ignore[attr-defined]


def _apart(apps: dict[str, Any], request: dict[str, Any]) -> dict[str, str]:
    name = json.loads(request["environment"]["ACTION"])["name"]
    app = apps["tools" if name == "repeat_back_to_me" else "holdfast"]
    with tempfile.TemporaryFile() as printed:
        child = os.fork()
        if not child:
            os.dup2(printed.fileno(), 1)
            os.dup2(printed.fileno(), 2)
            os.environ.update(request["environment"])
            if app is apps["tools"]:
                _with_templates()
            try:
                app.run()
            except SystemExit:
                pass
            except BaseException:  # noqa: BLE001 - whatever it is, the test shall see it
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
        os.waitpid(child, 0)
        printed.seek(0)
        return {"printed": printed.read().decode(errors="replace")}


if __name__ == "__main__":
    main()
