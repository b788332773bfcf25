import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from sidecar.api.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ToolCall(_message.Message):
    __slots__ = ("tool", "arguments", "session_id", "url", "cwd", "environment_digest", "nonce")
    TOOL_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    CWD_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    tool: str
    arguments: bytes
    session_id: str
    url: str
    cwd: str
    environment_digest: str
    nonce: str
    def __init__(self, tool: _Optional[str] = ..., arguments: _Optional[bytes] = ..., session_id: _Optional[str] = ..., url: _Optional[str] = ..., cwd: _Optional[str] = ..., environment_digest: _Optional[str] = ..., nonce: _Optional[str] = ...) -> None: ...

class AuthorizeRequest(_message.Message):
    __slots__ = ("tool_call", "token")
    TOOL_CALL_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    tool_call: ToolCall
    token: str
    def __init__(self, tool_call: _Optional[_Union[ToolCall, _Mapping]] = ..., token: _Optional[str] = ...) -> None: ...

class AuthorizeResponse(_message.Message):
    __slots__ = ("decision",)
    DECISION_FIELD_NUMBER: _ClassVar[int]
    decision: _types_pb2.Decision
    def __init__(self, decision: _Optional[_Union[_types_pb2.Decision, _Mapping]] = ...) -> None: ...

class AuthorizeStreamRequest(_message.Message):
    __slots__ = ("items",)
    class Item(_message.Message):
        __slots__ = ("id", "request")
        ID_FIELD_NUMBER: _ClassVar[int]
        REQUEST_FIELD_NUMBER: _ClassVar[int]
        id: int
        request: AuthorizeRequest
        def __init__(self, id: _Optional[int] = ..., request: _Optional[_Union[AuthorizeRequest, _Mapping]] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[AuthorizeStreamRequest.Item]
    def __init__(self, items: _Optional[_Iterable[_Union[AuthorizeStreamRequest.Item, _Mapping]]] = ...) -> None: ...

class AuthorizeStreamResponse(_message.Message):
    __slots__ = ("items",)
    class Item(_message.Message):
        __slots__ = ("id", "decision")
        ID_FIELD_NUMBER: _ClassVar[int]
        DECISION_FIELD_NUMBER: _ClassVar[int]
        id: int
        decision: _types_pb2.Decision
        def __init__(self, id: _Optional[int] = ..., decision: _Optional[_Union[_types_pb2.Decision, _Mapping]] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[AuthorizeStreamResponse.Item]
    def __init__(self, items: _Optional[_Iterable[_Union[AuthorizeStreamResponse.Item, _Mapping]]] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("decision_id", "result", "detail", "duration", "response_digest")
    class Result(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        RESULT_UNSPECIFIED: _ClassVar[Outcome.Result]
        RESULT_SUCCESS: _ClassVar[Outcome.Result]
        RESULT_ERROR: _ClassVar[Outcome.Result]
        RESULT_AMBIGUOUS: _ClassVar[Outcome.Result]
        RESULT_CANCELLED: _ClassVar[Outcome.Result]
    RESULT_UNSPECIFIED: Outcome.Result
    RESULT_SUCCESS: Outcome.Result
    RESULT_ERROR: Outcome.Result
    RESULT_AMBIGUOUS: Outcome.Result
    RESULT_CANCELLED: Outcome.Result
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    result: Outcome.Result
    detail: str
    duration: _duration_pb2.Duration
    response_digest: str
    def __init__(self, decision_id: _Optional[str] = ..., result: _Optional[_Union[Outcome.Result, str]] = ..., detail: _Optional[str] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., response_digest: _Optional[str] = ...) -> None: ...

class LogRequest(_message.Message):
    __slots__ = ("outcome",)
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    outcome: Outcome
    def __init__(self, outcome: _Optional[_Union[Outcome, _Mapping]] = ...) -> None: ...

class LogResponse(_message.Message):
    __slots__ = ("log_index", "mark")
    LOG_INDEX_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    log_index: int
    mark: str
    def __init__(self, log_index: _Optional[int] = ..., mark: _Optional[str] = ...) -> None: ...

class LogStreamRequest(_message.Message):
    __slots__ = ("items",)
    class Item(_message.Message):
        __slots__ = ("id", "outcome")
        ID_FIELD_NUMBER: _ClassVar[int]
        OUTCOME_FIELD_NUMBER: _ClassVar[int]
        id: int
        outcome: Outcome
        def __init__(self, id: _Optional[int] = ..., outcome: _Optional[_Union[Outcome, _Mapping]] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[LogStreamRequest.Item]
    def __init__(self, items: _Optional[_Iterable[_Union[LogStreamRequest.Item, _Mapping]]] = ...) -> None: ...

class LogStreamResponse(_message.Message):
    __slots__ = ("items",)
    class Item(_message.Message):
        __slots__ = ("id", "log_index", "mark", "refusal")
        ID_FIELD_NUMBER: _ClassVar[int]
        LOG_INDEX_FIELD_NUMBER: _ClassVar[int]
        MARK_FIELD_NUMBER: _ClassVar[int]
        REFUSAL_FIELD_NUMBER: _ClassVar[int]
        id: int
        log_index: int
        mark: str
        refusal: _types_pb2.Reason
        def __init__(self, id: _Optional[int] = ..., log_index: _Optional[int] = ..., mark: _Optional[str] = ..., refusal: _Optional[_Union[_types_pb2.Reason, _Mapping]] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[LogStreamResponse.Item]
    def __init__(self, items: _Optional[_Iterable[_Union[LogStreamResponse.Item, _Mapping]]] = ...) -> None: ...

class WatchContainmentRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class WatchContainmentResponse(_message.Message):
    __slots__ = ("epoch", "level", "cancel_in_flight", "reason", "apply_time")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    CANCEL_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    APPLY_TIME_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    level: _types_pb2.Level
    cancel_in_flight: bool
    reason: _types_pb2.Reason
    apply_time: _timestamp_pb2.Timestamp
    def __init__(self, epoch: _Optional[int] = ..., level: _Optional[_Union[_types_pb2.Level, str]] = ..., cancel_in_flight: bool = ..., reason: _Optional[_Union[_types_pb2.Reason, _Mapping]] = ..., apply_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class WaitApprovalRequest(_message.Message):
    __slots__ = ("approval", "timeout")
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    approval: str
    timeout: _duration_pb2.Duration
    def __init__(self, approval: _Optional[str] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WaitApprovalResponse(_message.Message):
    __slots__ = ("state", "reason", "expire_time")
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    state: str
    reason: _types_pb2.Reason
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, state: _Optional[str] = ..., reason: _Optional[_Union[_types_pb2.Reason, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CancelApprovalRequest(_message.Message):
    __slots__ = ("approval",)
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    approval: str
    def __init__(self, approval: _Optional[str] = ...) -> None: ...

class CancelApprovalResponse(_message.Message):
    __slots__ = ("state",)
    STATE_FIELD_NUMBER: _ClassVar[int]
    state: str
    def __init__(self, state: _Optional[str] = ...) -> None: ...
