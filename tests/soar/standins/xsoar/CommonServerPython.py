# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: N803, N807, N816 - the platform's names
"""A stand-in for the platform's ``CommonServerPython``: the part of it that the pack uses.

The real one exists in a git repository alone and is not ours to ship; names, arguments and the shape
of what comes out are its own, so that the pack runs on either. Set ``XSOAR_CONTENT`` to a checkout to
run on the real one.
"""

import os
import sys
from inspect import currentframe

import demistomock as demisto


def __line__():
    return currentframe().f_back.f_lineno


def register_module_line(module_name, start_end, line, wrapper=0):
    """Kept for tracebacks by the real one."""


class EntryType:
    NOTE = 1
    ERROR = 4
    ENTRY_INFO_FILE = 9
    WARNING = 11


entryTypes = {"note": 1, "error": 4, "entryInfoFile": 9, "warning": 11}
formats = {"json": "json", "text": "text"}


class EntryFormat:
    TEXT = "text"
    JSON = "json"


class DemistoException(Exception):
    def __init__(self, message, exception=None, res=None, error_type=None, *args):
        self.message = message
        super().__init__(message, exception, error_type, *args)

    def __str__(self):
        return str(self.message)


_secrets = []


def add_sensitive_log_strs(sensitive_str):
    if sensitive_str:
        _secrets.append(sensitive_str)


def handle_proxy(
    proxy_param_name="proxy",
    checkbox_default_value=False,
    handle_insecure=True,
    insecure_param_name=None,
):
    if not demisto.params().get(proxy_param_name, checkbox_default_value):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            os.environ.pop(name, None)
    if handle_insecure and (demisto.params().get("insecure") or demisto.params().get("unsecure")):
        raise AssertionError("an integration of ours never asks for this")
    return {}


def argToBoolean(value):
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "yes", "false", "no"):
        return value.lower() in ("true", "yes")
    raise ValueError("Argument does not contain a valid boolean-like value")


def argToList(arg, separator=","):
    if not arg:
        return []
    if isinstance(arg, list):
        return arg
    return [item.strip() for item in arg.split(separator)]


def arg_to_number(arg, arg_name=None, required=False):
    if arg is None or arg == "":
        return None
    try:
        return int(float(arg))
    except ValueError:
        raise ValueError(f'"{arg}" is not a valid number') from None


def tableToMarkdown(name, t, headers=None, headerTransform=None, removeNull=False, metadata=None):
    rows = t if isinstance(t, list) else [t]
    headers = list(headers or sorted(rows[0]))
    if removeNull:
        headers = [h for h in headers if any(row.get(h) not in ("", None, [], {}) for row in rows)]
    lines = [f"### {name}"]
    if metadata:
        lines.append(metadata)
    lines += [f"|{'|'.join(headers)}|", f"|{'|'.join('---' for _ in headers)}|"]
    lines += [f"| {' | '.join(str(row.get(h, '')) for h in headers)} |" for row in rows]
    return "\n".join(lines) + "\n"


class ScheduledCommand:
    def __init__(
        self, command, next_run_in_seconds, args=None, timeout_in_seconds=None, items_remaining=0
    ):
        self._command = command
        self._next_run = str(max(10, next_run_in_seconds))
        self._args = args
        self._timeout = str(timeout_in_seconds) if timeout_in_seconds else None

    @staticmethod
    def raise_error_if_not_supported():
        return True

    def to_results(self):
        said = {
            "PollingCommand": self._command,
            "NextRun": self._next_run,
            "PollingArgs": self._args,
            "Timeout": self._timeout,
        }
        return {name: value for name, value in said.items() if value}


class CommandResults:
    def __init__(
        self,
        outputs_prefix=None,
        outputs_key_field=None,
        outputs=None,
        indicators=None,
        readable_output=None,
        raw_response=None,
        indicators_timeline=None,
        indicator=None,
        ignore_auto_extract=False,
        mark_as_note=False,
        tags=None,
        scheduled_command=None,
        relationships=None,
        entry_type=None,
        content_format=None,
        execution_metrics=None,
        replace_existing=False,
    ):
        if outputs_prefix or outputs_key_field:
            raise NotImplementedError("the stand-in knows outputs with their own keys alone")
        self.outputs = outputs
        self.readable_output = readable_output
        self.raw_response = outputs if raw_response is None else raw_response
        self.ignore_auto_extract = ignore_auto_extract
        self.scheduled_command = scheduled_command
        self.entry_type = entry_type or EntryType.NOTE

    def to_context(self):
        entry = {
            "Type": self.entry_type,
            "ContentsFormat": EntryFormat.TEXT
            if isinstance(self.raw_response, str)
            else EntryFormat.JSON,
            "Contents": self.raw_response,
            "HumanReadable": self.readable_output,
            "EntryContext": self.outputs or {},
            "IgnoreAutoExtract": self.ignore_auto_extract,
            "Note": False,
        }
        if self.scheduled_command:
            entry.update(self.scheduled_command.to_results())
        return entry


class PollResult:
    def __init__(
        self, response, continue_to_poll=False, args_for_next_run=None, partial_result=None
    ):
        self.response = response
        self.continue_to_poll = continue_to_poll
        self.args_for_next_run = args_for_next_run
        self.partial_result = partial_result


def polling_function(
    name,
    interval=30,
    timeout=600,
    poll_message="Fetching Results:",
    polling_arg_name="polling",
    requires_polling_arg=True,
):
    def dec(func):
        def inner(args, *arguments, **kwargs):
            result = func(args, *arguments, **kwargs)
            if not result.continue_to_poll:
                return result.response
            readable = poll_message if not args.get("hide_polling_output") else None
            next_args = result.args_for_next_run or args
            next_args["hide_polling_output"] = True
            response = result.partial_result or CommandResults(readable_output=readable)
            response.scheduled_command = ScheduledCommand(
                command=name,
                next_run_in_seconds=interval,
                args=next_args,
                timeout_in_seconds=timeout,
            )
            return response

        return inner

    return dec


def fileResult(filename, data, file_type=None):
    temp = demisto.uniqueFile()
    with open(demisto.investigation()["id"] + "_" + temp, "wb") as out:
        out.write(data.encode() if isinstance(data, str) else data)
    return {
        "Contents": "",
        "ContentsFormat": "text",
        "Type": file_type,
        "File": filename,
        "FileID": temp,
    }


def return_results(results):
    if isinstance(results, list):
        for result in results:
            return_results(result)
    elif isinstance(results, CommandResults):
        demisto.results(results.to_context())
    else:
        demisto.results(results)


def return_error(message, error="", outputs=None):
    for secret in _secrets:
        message = message.replace(secret, "<XX_REPLACED>")
    demisto.info(message)
    demisto.results(
        {
            "Type": entryTypes["error"],
            "ContentsFormat": formats["text"],
            "Contents": message,
            "EntryContext": outputs,
        }
    )
    sys.exit(0)
