# SPDX-License-Identifier: Apache-2.0
"""A stand-in of ours for StackStorm's ``python_action_wrapper.py``: the same command line and output.

What it keeps of the contract: the options ``--pack --file-path --user --config`` and
``--stdin-parameters`` (one line, ``{"parameters": …}``); the class of the file that derives from
``Action`` is made with the configuration and run with the parameters; a pair ``(bool, result)`` is
printed as JSON between two delimiters; an exception is an exit code other than 0.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import json
import sys
from pathlib import Path

from st2common.runners.base_action import Action

DELIMITER = "%%%%%~=~=~=************=~=~=~%%%%"


def main() -> None:
    """Run the action that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pack", required=True)
    parser.add_argument("--file-path", required=True)
    parser.add_argument("--user")
    parser.add_argument("--config", default="{}")
    parser.add_argument("--stdin-parameters", action="store_true", required=True)
    arguments = parser.parse_args()
    parameters = json.loads(sys.stdin.readline())["parameters"]
    path = Path(arguments.file_path)
    sys.path[0] = str(Path(__file__).parent)
    sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (action,) = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Action) and member.__module__ == path.stem
    ]
    output = action(config=json.loads(arguments.config)).run(**parameters)
    status, result = output if isinstance(output, tuple) and len(output) == 2 else (None, output)
    text = json.dumps({"result": result, "status": status})
    sys.stdout.write(f"{DELIMITER}{text}\n{DELIMITER}")


if __name__ == "__main__":
    main()
