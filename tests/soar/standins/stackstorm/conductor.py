# SPDX-License-Identifier: Apache-2.0
"""A stand-in of ours for StackStorm's workflow engine; the conductor that it drives is the real one.

It runs in the environment ``orquesta`` (Python 3.8).

It talks JSON lines. Read: first ``{"spec": …, "input": …, "execution": …}``, then for each task that
was asked for ``{"status": …, "result": …}``. Written: ``{"task", "action", "input", "delay"}``
for each task that the conductor wants run, and at the end ``{"status", "output", "errors"}``.
"""

import json
import sys

from orquesta import conducting, events, statuses
from orquesta.specs import loader

_LIMIT = 200


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def hear():
    line = sys.stdin.readline()
    if not line:
        sys.exit("nobody answers")
    return json.loads(line)


def main():
    order = hear()
    module = loader.get_spec_module("native")
    spec = module.instantiate(order["spec"])
    context = {"st2": {"user": "stanley", "pack": "holdfast", "workflow_execution_id": ""}}
    problems = spec.inspect(app_ctx=context)
    if problems:
        say({"status": "invalid", "output": None, "errors": problems})
        return
    conductor = conducting.WorkflowConductor(spec, inputs=order["input"], context=context)
    conductor.request_workflow_status(statuses.REQUESTED)
    # As StackStorm does it: the id is only known, and put there, when the record has been stored.
    conductor.workflow_state.contexts[0]["st2"]["workflow_execution_id"] = order["execution"]
    conductor.request_workflow_status(statuses.RUNNING)
    for _ in range(_LIMIT):
        tasks = conductor.get_next_tasks()
        if not tasks:
            break
        for task in tasks:
            run(conductor, task)
    if conductor.get_workflow_status() in statuses.COMPLETED_STATUSES:
        conductor.render_workflow_output()
    say(
        {
            "status": conductor.get_workflow_status(),
            "output": conductor.get_workflow_output(),
            "errors": conductor.errors,
        }
    )


def run(conductor, task):
    name, route = task["id"], task["route"]
    conductor.update_task_state(name, route, events.ActionExecutionEvent(statuses.RUNNING))
    (action,) = task["actions"]
    if action["action"] == "core.noop":
        answer = {"status": statuses.SUCCEEDED, "result": None}
    else:
        say(
            {
                "task": name,
                "action": action["action"],
                "input": action["input"],
                "delay": task.get("delay"),
            }
        )
        answer = hear()
        if action["action"] == "core.ask":
            # As StackStorm does it: the question pauses the workflow, and whoever ends the question
            # (an answer, or its time) asks for the workflow to be resumed.
            conductor.update_task_state(name, route, events.ActionExecutionEvent(statuses.PENDING))
    conductor.update_task_state(
        name, route, events.ActionExecutionEvent(answer["status"], result=answer["result"])
    )
    if conductor.get_workflow_status() == statuses.PAUSED:
        conductor.request_workflow_status(statuses.RESUMING)


main()
