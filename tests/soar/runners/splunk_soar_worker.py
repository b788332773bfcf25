# SPDX-License-Identifier: Apache-2.0
"""Runs in the SDK's environment: hands actions to ``app.handle``, as the platform's spawn does.

``python splunk_soar_worker.py <app>`` imports the app once. Each line of input is a request in JSON,
each line of output its answer. Every action has a forked process of its own, because on the platform
an app run shares no memory with another one. What the SDK calls its results comes back as it is,
with everything that the process printed.
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
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module = __import__("src.app", fromlist=["app"])
    versions = {
        "splunk-soar-sdk": importlib.metadata.version("splunk-soar-sdk"),
        "pydantic": importlib.metadata.version("pydantic"),
        "python": platform.python_version(),
    }
    print(json.dumps(versions), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_apart(module.app, json.loads(line))), file=answers, flush=True)


def _apart(app: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Answer *request* in a process of its own."""
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as answer:
        child = os.fork()
        if not child:
            os.dup2(printed.fileno(), 1)
            os.dup2(printed.fileno(), 2)
            try:
                done = _run(app, request)
            except BaseException:  # noqa: BLE001 - whatever it is, the test shall see it
                done = {"crash": traceback.format_exc(), "results": []}
            sys.stdout.flush()
            sys.stderr.flush()
            os.write(answer.fileno(), json.dumps(done).encode())
            os._exit(0)
        os.waitpid(child, 0)
        answer.seek(0)
        printed.seek(0)
        done = json.loads(answer.read() or b'{"crash": "no answer", "results": []}')
        return {**done, "printed": printed.read().decode(errors="replace")}


def _run(app: Any, request: dict[str, Any]) -> dict[str, Any]:
    from soar_sdk.input_spec import AppConfig, InputSpecification
    from soar_sdk.shims.phantom_common.encryption.encryption_manager_factory import (
        platform_encryption_backend,
    )

    asset = dict(request["asset"])
    for name in app.asset_cls.fields_requiring_decryption():
        if asset.get(name):
            asset[name] = platform_encryption_backend.encrypt(asset[name], "4711")
    specification = InputSpecification(
        action=request["identifier"],
        identifier=request["identifier"],
        action_run_id=request["action_run_id"],
        container_id=request["container_id"],
        asset_id="4711",
        config=AppConfig(app_version="1.0.0", directory=".", main_module="src.app:app", **asset),
        parameters=[request["parameters"]],
    )
    dump = getattr(specification, "model_dump_json", None) or specification.json
    saved: list[Any] = []
    # The SDK's stand-in for the platform saves nowhere; here it is kept to be looked at.
    manager = app.actions_manager
    manager.save_container = lambda container: saved.append(container) or (True, "", len(saved))
    manager.save_artifacts = lambda artifacts: saved.extend(artifacts) or (True, "", [1])
    app.handle(dump())
    return {
        "crash": "",
        "saved": saved,
        "results": [
            {
                "status": result.get_status(),
                "message": result.get_message(),
                "data": result.get_data(),
                "summary": result.get_summary(),
                "param": result.get_param(),
            }
            for result in app.actions_manager.get_action_results()
        ],
    }


if __name__ == "__main__":
    main()
