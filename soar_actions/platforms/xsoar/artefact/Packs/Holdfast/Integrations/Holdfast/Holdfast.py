# ruff: noqa: BLE001, E402, E501, F403, F405, S102 - the platform's own form: star imports first, wide lines
import demistomock as demisto
from CommonServerPython import *
from CommonServerUserPython import *

"""
Holdfast for Cortex XSOAR: a thin adapter around actions that every platform shares.

Laws:

1. A poll asks how the held operation stands, by its name; it never sends the order again.
2. Only SUCCESS is shown as success: PARTIAL is a warning, everything else that ended an error with the reason,
   what to do, and whether trying again can help.
3. A setting that would weaken TLS does not exist, and none is read.
4. What an agent or an alert wrote is shown as plain text: no links, no images, no buttons, no indicator extraction.
"""

import hashlib
import json
import re
import sys
import types
import uuid

# What does the work. It is written here as text when the pack is built, and loaded as a module of its own: the
# platform joins this file with its own, and names of one must not change the other.
ACTIONS_SOURCE = ""  # HOLDFAST-ACTIONS
# Which action each command is; written here when the pack is built, from the same catalogue as the declaration.
COMMANDS: dict = {}  # HOLDFAST-COMMANDS
# The process outlives an upgrade of the pack: another text is another module.
SOURCE_NAME = "holdfast_actions_" + hashlib.sha256(ACTIONS_SOURCE.encode()).hexdigest()[:12]

OPERATION_CONTEXT = "Holdfast.Operation(val.name && val.name == obj.name)"
WAITING = ("PENDING_APPROVAL", "RUNNING")
REFUSALS = {
    "REFUSED": "APPROVAL_REFUSED",
    "EXPIRED": "APPROVAL_EXPIRED",
    "CANCELLED": "APPROVAL_CANCELLED",
}
OWN_ARGUMENTS = (
    "wait_for_decision",
    "interval_in_seconds",
    "timeout_in_seconds",
    "polled_operation",
    "polled_items",
    "hide_polling_output",
)
# Results that list several orders, each with an operation of its own.
LISTS = ("targets", "releases")
LOOK = "get-operation"
DEFAULT_INTERVAL_S = 30
DEFAULT_TIMEOUT_S = 3600
# Controls, line ends, what has no width and what turns the order of letters round.
STEERS = re.compile(
    "[\0-\x1f\x7f-\x9f\u061c\u2028\u2029\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
MAX_CELL = 500
MAX_ROWS = 50
CONSOLE_LINK = re.compile(r"https://[A-Za-z0-9.:-]+/[A-Za-z0-9/_.~?=-]*")


class HoldfastException(DemistoException):
    """An action that did not do what it was asked; its result says why."""

    def __init__(self, result: dict):
        super().__init__(failure_text(result))
        self.result = result


# --- the actions --------------------------------------------------------------------------------


def load_actions(source: str = ACTIONS_SOURCE):
    """Return the module that does the work; it is loaded once."""
    if SOURCE_NAME not in sys.modules:
        module = types.ModuleType(SOURCE_NAME)
        sys.modules[SOURCE_NAME] = module  # dataclasses look their module up by name
        try:
            exec(
                compile(source, SOURCE_NAME + ".py", "exec"), module.__dict__
            )  # our own text, above
        except BaseException:
            del sys.modules[SOURCE_NAME]
            raise
    return sys.modules[SOURCE_NAME]


def slug_of(command: str) -> str:
    """Return the action behind a command: ``holdfast-agent-contain`` is ``contain-agent``."""
    if command not in COMMANDS:
        raise NotImplementedError(f"Command {command} is not implemented.")
    return COMMANDS[command]


def prefix_of(slug: str) -> str:
    return "Holdfast." + "".join(word.capitalize() for word in slug.split("-"))


def asset_of(params: dict) -> dict:
    """Return what the instance is configured with, in the words of the actions (law 3)."""
    credentials = params.get("credentials") or {}
    asset = {
        "endpoint": params.get("endpoint"),
        "api_token": credentials.get("password"),
        "ca_certificate": params.get("ca_certificate"),
        "client_certificate": params.get("client_certificate"),
        "client_key": (params.get("client_key") or {}).get("password")
        if isinstance(params.get("client_key"), dict)
        else params.get("client_key"),
        "timeout_seconds": params.get("timeout_seconds"),
    }
    return {name: str(value).strip() for name, value in asset.items() if value}


def run_key(slug: str, parameters: dict) -> str:
    """Return the idempotency key of this run.

    A task of a playbook that is tried again in the same incident has the same key, so that it has one effect; a
    command that a human types again has another.
    """
    context = demisto.callingContext.get("context") or {}
    entry = context.get("ParentEntry") or {}
    task = entry.get("entryTask") or {}
    if task.get("taskId"):
        run = ["task", task.get("playbookName"), task.get("taskId"), task.get("loop")]
    else:
        # Without any mark of the run, better two orders than an old answer taken for a new one.
        run = ["entry", entry.get("id") or uuid.uuid4().hex]
    incident = (demisto.investigation() or {}).get("id")
    said = json.dumps(
        [context.get("IntegrationInstance"), incident, run, slug, sorted(parameters.items())]
    )
    return "xsoar-" + hashlib.sha256(said.encode()).hexdigest()[:40]


def perform(slug: str, asset: dict, parameters: dict, key: str) -> dict:
    return load_actions().perform(slug, asset=asset, parameters=parameters, key=key)


# --- one command --------------------------------------------------------------------------------


def test_module(asset: dict) -> str:
    result = perform("test-connectivity", asset, {}, "xsoar-test-module")
    if result["status"] != "SUCCESS":
        raise HoldfastException(result)
    return "ok"


def run_command(command: str, args: dict, asset: dict):
    """Return the results of one command; a held one comes back by itself until humans have decided."""
    slug = slug_of(command)
    if not load_actions().ACTIONS[slug].can_be_pending and slug != LOOK:
        result = checked(perform_args(slug, args, asset))
        return (
            evidence_results(result) if slug == "export-evidence" else command_results(slug, result)
        )
    # Before anything is ordered: an order that was given must not end as an error about an argument.
    try:
        interval = arg_to_number(args.get("interval_in_seconds")) or DEFAULT_INTERVAL_S
        timeout = arg_to_number(args.get("timeout_in_seconds")) or DEFAULT_TIMEOUT_S
        will_wait = argToBoolean(
            args.get("wait_for_decision") or ("false" if slug == LOOK else "true")
        )
    except ValueError:
        raise HoldfastException(bad_arguments()) from None
    polled = polling_function(
        name=command,
        interval=interval,
        timeout=timeout,
        poll_message="Holdfast: waits for a human decision.",
        requires_polling_arg=False,
    )(poll)
    return polled(args, slug=slug, asset=asset, will_wait=will_wait)


def poll(args: dict, slug: str, asset: dict, will_wait: bool) -> PollResult:
    """Order it at the first run, and only look at every later one (law 1)."""
    if args.get("polled_operation"):
        return look(args, slug, asset)
    result = checked(perform_args(slug, args, asset))
    results = command_results(slug, result)
    items = [item for name in LISTS for item in result.get(name) or []]
    held = [
        item["operation"]
        for item in items
        if item.get("status") == "PENDING" and item.get("operation")
    ]
    if not held and result["status"] == "PENDING" and (result.get("operation") or {}).get("name"):
        held = [result["operation"]["name"]]
    return PollResult(
        response=results,
        partial_result=results,
        continue_to_poll=bool(held) and will_wait,
        args_for_next_run={
            **args,
            "polled_operation": ",".join(held),
            "polled_items": json.dumps([{**item, "receipt": {}} for item in items]),
            **({"idempotency_key": result["idempotency_key"]} if slug != LOOK else {}),
        },
    )


def look(args: dict, slug: str, asset: dict) -> PollResult:
    """Look how held operations stand; what cannot be reached now may be reachable at the next look."""
    key = args.get("idempotency_key") or ""
    again = PollResult(response=None, continue_to_poll=True, args_for_next_run={**args})
    items = json.loads(args.get("polled_items") or "[]")
    ended = {}
    for name in argToList(args["polled_operation"]):
        result = perform(LOOK, asset, {"operation": name}, key)
        result["idempotency_key"] = key
        if result["status"] == "FAILED":
            if (result.get("error") or {}).get("retryable"):
                return again
            ended[name] = result  # one that cannot be looked at hides no other's end
        elif (result.get("operation") or {}).get("state") in WAITING:
            return again
        else:
            ended[name] = result if slug == LOOK else outcome(result)
    whole = together(items, ended) if items else list(ended.values())[-1]
    return PollResult(response=command_results(slug, checked(whole)))


def outcome(result: dict) -> dict:
    """Return what an ended operation means for the action that was held: only a whole receipt is SUCCESS (law 2)."""
    operation = result["operation"]
    state = operation.get("state") or "FAILED"
    text = operation.get("detail") or operation.get("summary")
    if state == "DONE":
        if result["status"] == "SUCCESS":
            return {**result, "summary": f"granted and carried out: {text}"}
        laggards = [
            gate["gate"] for gate in result["receipt"]["gates"] if gate["state"] != "ENFORCED"
        ]
        summary = f"granted and carried out, but not whole: {result['summary']}"
        return {**result, "summary": summary, "laggards": laggards}
    reason = REFUSALS.get(state)
    error = {
        "class": "REFUSED" if reason else "FAILED",
        "reason": reason or operation.get("error_reason") or "FAILED",
        "remedy": "ask again only with a fresh idempotency_key, and if the approvers know why",
        "retryable": False,
    }
    summary = (
        f"nothing was done: {text}"
        if reason
        else f"it was granted and could not be carried out: {text}"
    )
    return {**result, "status": "FAILED", "summary": summary, "error": error}


def together(items: list, ended: dict) -> dict:
    """Return one result for several orders, each with its own outcome: never SUCCESS if one is not."""
    for item in items:
        result = ended.get(item.get("operation"))
        if result is not None:
            receipt = result.get("receipt") or {}
            item.update(
                status=result["status"],
                summary=result["summary"],
                reason=(result.get("error") or {}).get("reason", ""),
                remedy=(result.get("error") or {}).get("remedy", ""),
            )
            if receipt:
                item.update(
                    receipt=receipt,
                    laggards=result.get("laggards", []),
                    epoch=receipt.get("epoch", 0),
                )
    statuses = {item["status"] for item in items}
    last = list(ended.values())[-1]
    if len(items) == 1:
        status = last["status"]
    else:
        status = statuses.pop() if len(statuses) == 1 else "PARTIAL"
    name = "targets" if "agent" in items[0] else "releases"
    return {
        **last,
        "status": status,
        "summary": last["summary"]
        if len(items) == 1
        else "; ".join(str(item["summary"]) for item in items),
        name: items,
        "changed": bool(statuses & {"SUCCESS", "PARTIAL"}) or status in ("SUCCESS", "PARTIAL"),
    }


def bad_arguments() -> dict:
    return {
        "action": "",
        "status": "FAILED",
        "summary": "interval_in_seconds and timeout_in_seconds are numbers, wait_for_decision is true or false",
        "error": {
            "class": "BAD_INPUT",
            "reason": "BAD_INPUT",
            "remedy": "correct the argument",
            "retryable": False,
        },
    }


def perform_args(slug: str, args: dict, asset: dict) -> dict:
    parameters = {name: as_text(value) for name, value in args.items() if name not in OWN_ARGUMENTS}
    parameters = {name: value for name, value in parameters.items() if value}
    return perform(slug, asset, parameters, run_key(slug, parameters))


def as_text(value) -> str:
    """Return an argument as the actions take it; the platform hands lists and booleans over as such."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(as_text(item) for item in value)
    return str(value)


def checked(result: dict) -> dict:
    if result["status"] == "FAILED":
        raise HoldfastException(result)
    return result


# --- what the War Room and the context get ----------------------------------------------------------


def context_of(result: dict) -> dict:
    """Return the entry context: the action's last result in its place, operations side by side."""
    action = prefix_of(result["action"].replace(" ", "-"))
    place, _, name = action.rpartition(".")
    operation = result.get("operation")
    return {
        f"{place}(true)": {name: result},
        **(
            {OPERATION_CONTEXT: operation}
            if isinstance(operation, dict) and operation.get("name")
            else {}
        ),
    }


def command_results(slug: str, result: dict) -> CommandResults:
    result = {**result, "action": slug.replace("-", " ")}
    return CommandResults(
        readable_output=readable(result),
        outputs=context_of(result),
        raw_response=result,
        entry_type=EntryType.WARNING if result["status"] == "PARTIAL" else EntryType.NOTE,
        ignore_auto_extract=True,
    )


def evidence_results(result: dict) -> list:
    """Return the evidence as a file of the War Room, and the rest as usual: a context is no place for it."""
    evidence = json.dumps(
        result["evidence"], sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    name = f"holdfast-evidence-{result['sha256'][:16]}.json"
    rest = {key: value for key, value in result.items() if key != "evidence"}
    return [
        fileResult(name, evidence, EntryType.ENTRY_INFO_FILE),
        command_results("export-evidence", {**rest, "file": name}),
    ]


def readable(result: dict) -> str:
    """Return the result for people, every text of it made plain (law 4)."""
    lines = [f"### Holdfast {result['action']}: {result['status']}", plain(result.get("summary"))]
    if result.get("repeated_request"):
        lines.append(
            "**An earlier request with the same idempotency key was answered; nothing new was ordered.**"
        )
    operation = result.get("operation") or {}
    if result["status"] == "PENDING":
        words = operation.get("fingerprint_words")
        lines.append(f"Nothing has been done yet. Compare before you decide: **{plain(words)}**")
        if CONSOLE_LINK.fullmatch(str(operation.get("url") or "")):
            lines.append(f"Decide in the console: {operation['url']}")
    for name, value in result.items():
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            rows = [{plain(key): cell(item[key]) for key in item} for item in value[:MAX_ROWS]]
            more = f"the first {MAX_ROWS} of {len(value)}" if len(value) > MAX_ROWS else None
            lines.append(
                tableToMarkdown(
                    plain(name), rows, headers=list(rows[0]), metadata=more, removeNull=True
                )
            )
        elif isinstance(value, dict) and name not in ("timing", "error") and value:
            row = {plain(key): cell(value[key]) for key in value}
            lines.append(tableToMarkdown(plain(name), row, headers=list(row), removeNull=True))
    return "\n\n".join(line for line in lines if line)


def cell(value) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ", ".join(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return plain(text if text not in ("null", "[]", "{}") else "")


def plain(value) -> str:
    """Return hostile text so that markdown makes nothing of it: no link, image, colour, button or line."""
    text = "" if value is None else str(value)
    text = STEERS.sub(" ", text)
    if len(text) > MAX_CELL:
        text = text[:MAX_CELL] + " ..."
    text = (
        text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("%%%", "% % %")
    )
    text = text.replace("{{", "{ {").replace("${", "$ {")
    return re.sub(r"([\\`*_\[\]()!#~|])", r"\\\1", text).replace("://", "[:]//")


def failure_text(result: dict) -> str:
    error = result.get("error") or {}
    again = (
        "Trying again with the same idempotency_key is safe and can help."
        if error.get("retryable")
        else ""
    )
    remedy = str(error.get("remedy") or "").strip()
    remedy = remedy[:1].upper() + remedy[1:]
    parts = (
        f"{error.get('class', 'FAILED')} {error.get('reason', 'FAILED')}: {result.get('summary', '')}",
        (remedy and not remedy.endswith(".") and remedy + ".") or remedy,
        again,
    )
    return "\n".join(STEERS.sub(" ", part) for part in parts if part)


def main() -> None:
    params, command, args = demisto.params(), demisto.command(), demisto.args()
    asset = asset_of(params)
    add_sensitive_log_strs(asset.get("api_token"))
    add_sensitive_log_strs(asset.get("client_key"))
    # Without the box the environment's proxy is not used. The second argument keeps the helper from reading a
    # parameter that would switch certificate checks off: there is none, and none is obeyed (law 3).
    handle_proxy(handle_insecure=False)
    slug, failure, outputs = command, "", None
    try:
        slug = slug_of(command)
        return_results(
            test_module(asset) if command == "test-module" else run_command(command, args, asset)
        )
    except HoldfastException as exc:
        failure = str(exc)
        if command != "test-module":
            outputs = context_of({**exc.result, "action": slug.replace("-", " ")})
    except Exception as exc:
        # Its text could hold anything; its kind cannot.
        said = (
            str(exc)
            if isinstance(exc, NotImplementedError)
            else f"internal error ({type(exc).__name__})"
        )
        failure = f"FAILED INTERNAL: {said}"
    if failure:
        # Not while an exception is handled: the helper would log its traceback, texts and all.
        return_error(failure, outputs=outputs)


if __name__ in ("__main__", "__builtin__", "builtins"):
    main()
