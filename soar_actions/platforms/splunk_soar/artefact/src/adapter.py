# SPDX-License-Identifier: Apache-2.0
# SDK 2 reads `Optional[X]`, but not `X | None`.
# ruff: noqa: UP006, UP035, UP045
"""What every action of the app shares: the asset, the key of a run, and how an outcome is told.

One source for splunk-soar-sdk 2 (pydantic 1) and 7 (pydantic 2).

Laws:

1. Only ``SUCCESS`` and ``PENDING`` are a success for the platform. ``PENDING`` has to be one, because
   a failed action ends the branch that should wait for the human; its message and its data say that
   nothing has been done.
2. Whatever came of it, the result holds the whole outcome as data: ``action_result.data.*.status``
   is there to branch on after a failure, too.
3. Nothing that an asset or a playbook gives is shown to pydantic, which quotes what it refuses, and
   with it the credential beside it. The catalogue's own checks refuse it instead.
4. TLS is always verified; the asset has no field that says otherwise.
"""

import hashlib
import json
from typing import Any, ClassVar, Dict, List, Optional

from soar_sdk.action_results import ActionResult
from soar_sdk.app import App
from soar_sdk.asset import AssetField, BaseAsset
from soar_sdk.exceptions import ActionFailure, AssetMisconfiguration
from soar_sdk.params import Params

from .holdfast_actions.errors import ActionError, ErrorClass
from .holdfast_actions.run import failure, perform

__all__ = ["Asset", "Given", "app", "ask", "carry_out", "check_connection", "told"]

_PLATFORM_KEYS = ("context",)
"""What the platform itself puts among the parameters of an action."""


class Asset(BaseAsset):
    """Where control is, and with which credential."""

    endpoint: str = AssetField(
        description="Control's API: https://host:port, nothing else", required=True, default=""
    )
    api_token: str = AssetField(
        description="API token of an operator that holds `contain` only (or a client certificate)",
        required=False,
        default="",
        sensitive=True,
    )
    ca_certificate: str = AssetField(
        description="CA of control's certificate: PEM, or a path on this server (empty: the "
        "system's)",
        required=False,
        default="",
    )
    client_certificate: str = AssetField(
        description="Client certificate: PEM, or a path on this server", required=False, default=""
    )
    client_key: str = AssetField(
        description="Private key of the client certificate: PEM, or a path on this server",
        required=False,
        default="",
        sensitive=True,
    )
    timeout_seconds: str = AssetField(
        description="Longest time of one attempt, in seconds (1 to 60)",
        required=False,
        default="10",
    )
    proxy: str = AssetField(
        description="Proxy: http://host:port (empty: as the environment says)",
        required=False,
        default="",
        sensitive=True,
    )

    @classmethod
    def parse_obj(cls, obj: Any) -> "Asset":
        """Take the settings of SDK 2 (law 3)."""
        return super().parse_obj(_settings(obj))

    @classmethod
    def model_validate(cls, obj: Any, *args: Any, **kwargs: Any) -> "Asset":
        """Take the settings of SDK 7 (law 3)."""
        return super().model_validate(_settings(obj), *args, **kwargs)

    def settings(self) -> Dict[str, str]:
        """Return the settings as the client takes them."""
        return {name: str(getattr(self, name, "") or "") for name in Asset.__annotations__}


class Given(Params):
    """Parameters as the playbook gave them; they are checked where the action is done (law 3)."""

    @classmethod
    def parse_obj(cls, obj: Any) -> "Given":
        """Take the parameters of SDK 2."""
        return _given(cls, obj)

    @classmethod
    def model_validate(cls, obj: Any, *args: Any, **kwargs: Any) -> "Given":
        """Take the parameters of SDK 7."""
        return _given(cls, obj)


class HoldfastApp(App):
    """The SDK's app, which also remembers the run that it works for."""

    run: ClassVar[Dict[str, str]] = {}

    def handle(self, raw_input_data: str, handle: Optional[int] = None) -> str:
        """Run an action; what identifies the run is kept for its idempotency key."""
        sent = json.loads(raw_input_data)
        HoldfastApp.run = {
            name: str(sent.get(name) or "")
            for name in ("container_id", "action_run_id", "asset_id")
        }
        return super().handle(raw_input_data, handle)

    __call__ = handle


app = HoldfastApp(
    name="holdfast",
    app_type="endpoint",
    product_vendor="Holdfast",
    product_name="Holdfast",
    publisher="The Holdfast authors",
    appid="8d5c9a3e-6c0f-4f0e-9a1b-3f6a7d2b51c4",
    python_version="3.13",
    fips_compliant=False,
    logo="logo.svg",
    logo_dark="logo_dark.svg",
    asset_cls=Asset,
)


def carry_out(slug: str, params: Given, asset: Asset) -> ActionResult:
    """Do the action *slug* and return its outcome (laws 1 and 2)."""
    texts = {
        name: _text(value) for name, value in params.__dict__.items() if value not in (None, "")
    }
    result = ask(slug, asset, texts)
    is_done = result["status"] in ("SUCCESS", "PENDING")
    answer = ActionResult(is_done, _message(result), param=dict(texts))
    answer.add_data(result)
    answer.set_summary(_summary(result))
    return answer


def check_connection(asset: Asset) -> str:
    """Return who we are for control.

    Raises:
        ActionFailure: Control could not be reached, or refused us.
    """
    result = ask("test-connectivity", asset, {})
    if result["status"] == "SUCCESS":
        return str(result["summary"])
    kind = result["error"]["class"] if "error" in result else ""
    raised = AssetMisconfiguration if kind == "BAD_INPUT" else ActionFailure
    raise raised(told(result))


def ask(slug: str, asset: Asset, texts: Dict[str, str]) -> Dict[str, Any]:
    """Return the result of the action *slug*; nothing leaves as an exception."""
    key = _key(slug, texts)
    try:
        return perform(slug, asset=asset.settings(), parameters=texts, key=key)
    except Exception as exc:  # noqa: BLE001 - the SDK would print its text, whatever that quotes
        error = ActionError(
            ErrorClass.FAILED,
            f"the app itself failed ({type(exc).__name__})",
            reason="INTERNAL",
            remedy="whether it was done is not known: run it again with the same idempotency key",
        )
        return failure(error, action=slug.replace("-", " "), key=key)


def _key(slug: str, texts: Dict[str, str]) -> str:
    """Return the same key for the same run, action and parameters, and another one otherwise.

    The action run belongs to it: a container outlives a release, and a second containment in it must
    not be answered with the receipt of the first.
    """
    parts = [app.run.get("container_id", ""), app.run.get("action_run_id", ""), slug, texts]
    return "splunk-" + hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:48]


def _message(result: Dict[str, Any]) -> str:
    if result["status"] in ("SUCCESS", "PARTIAL"):
        return f"{result['status']}: {result['summary']}"
    if result["status"] == "PENDING":
        link = result.get("link")
        where = f" Decide at {link}" if link else ""
        return f"PENDING, nothing has been done: {result['summary']}.{where}"
    return str(ActionFailure(told(result), result["action"]))


def told(result: Dict[str, Any]) -> str:
    """Return why it failed and what to do, in a sentence."""
    if "error" not in result:
        return f"FAILED: {result['summary']}"
    error = result["error"]
    remedy = f" (what to do: {error['remedy']})" if error["remedy"] else ""
    return f"{error['class']}: {error['reason']}: {result['summary']}{remedy}"


def _summary(result: Dict[str, Any]) -> Dict[str, Any]:
    error, operation = result.get("error", {}), result.get("operation", {})
    return {
        "status": result["status"],
        "summary": result["summary"],
        "error_class": error.get("class", ""),
        "reason": error.get("reason", ""),
        "remedy": error.get("remedy", ""),
        "retryable": bool(error.get("retryable", False)),
        "operation": operation.get("name", "") if isinstance(operation, dict) else "",
        "operation_state": operation.get("state", "") if isinstance(operation, dict) else "",
        "link": result.get("link", ""),
        "idempotency_key": result.get("idempotency_key", ""),
    }


def _settings(given: Any) -> Dict[str, str]:
    """Return the settings that the asset has, as text."""
    known = {name: given.get(name) for name in Asset.__annotations__}
    return {name: _text(value) for name, value in known.items() if value not in (None, "")}


def _given(cls: Any, obj: Any) -> Any:
    values = {name: value for name, value in dict(obj).items() if name not in _PLATFORM_KEYS}
    construct = getattr(cls, "model_construct", None) or cls.construct
    params = construct(**dict.fromkeys(_fields(cls), None))
    # Past pydantic, unknown names too, so that a misspelt one is refused and not forgotten.
    params.__dict__.update(values)
    return params


def _fields(cls: Any) -> List[str]:
    return list(getattr(cls, "model_fields", None) or cls.__fields__)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    return str(value)
