import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from sidecar.api.v1 import options_pb2 as _options_pb2
from sidecar.api.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ContainRequest(_message.Message):
    __slots__ = ("request_id", "target", "level", "reason", "ttl", "throttle_calls_per_minute", "validate_only")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    THROTTLE_CALLS_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    target: _types_pb2.Target
    level: _types_pb2.Level
    reason: str
    ttl: _duration_pb2.Duration
    throttle_calls_per_minute: int
    validate_only: bool
    def __init__(self, request_id: _Optional[str] = ..., target: _Optional[_Union[_types_pb2.Target, _Mapping]] = ..., level: _Optional[_Union[_types_pb2.Level, str]] = ..., reason: _Optional[str] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., throttle_calls_per_minute: _Optional[int] = ..., validate_only: bool = ...) -> None: ...

class ContainResponse(_message.Message):
    __slots__ = ("receipt", "repeated_request", "agents", "operation", "unknown_agents")
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    REPEATED_REQUEST_FIELD_NUMBER: _ClassVar[int]
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_AGENTS_FIELD_NUMBER: _ClassVar[int]
    receipt: _types_pb2.Receipt
    repeated_request: bool
    agents: _containers.RepeatedScalarFieldContainer[str]
    operation: _types_pb2.Operation
    unknown_agents: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, receipt: _Optional[_Union[_types_pb2.Receipt, _Mapping]] = ..., repeated_request: bool = ..., agents: _Optional[_Iterable[str]] = ..., operation: _Optional[_Union[_types_pb2.Operation, _Mapping]] = ..., unknown_agents: _Optional[_Iterable[str]] = ...) -> None: ...

class ReleaseRequest(_message.Message):
    __slots__ = ("request_id", "epoch", "reason")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    epoch: int
    reason: str
    def __init__(self, request_id: _Optional[str] = ..., epoch: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class ReleaseResponse(_message.Message):
    __slots__ = ("directive", "epoch", "remaining", "operation")
    DIRECTIVE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    directive: _types_pb2.Directive
    epoch: int
    remaining: _containers.RepeatedCompositeFieldContainer[_types_pb2.Directive]
    operation: _types_pb2.Operation
    def __init__(self, directive: _Optional[_Union[_types_pb2.Directive, _Mapping]] = ..., epoch: _Optional[int] = ..., remaining: _Optional[_Iterable[_Union[_types_pb2.Directive, _Mapping]]] = ..., operation: _Optional[_Union[_types_pb2.Operation, _Mapping]] = ...) -> None: ...

class ListDirectivesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "include_ended", "agent", "target")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ENDED_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    include_ended: bool
    agent: str
    target: _types_pb2.Target
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., include_ended: bool = ..., agent: _Optional[str] = ..., target: _Optional[_Union[_types_pb2.Target, _Mapping]] = ...) -> None: ...

class ListDirectivesResponse(_message.Message):
    __slots__ = ("directives", "next_page_token", "epoch")
    DIRECTIVES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    directives: _containers.RepeatedCompositeFieldContainer[_types_pb2.Directive]
    next_page_token: str
    epoch: int
    def __init__(self, directives: _Optional[_Iterable[_Union[_types_pb2.Directive, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class GetReceiptRequest(_message.Message):
    __slots__ = ("epoch",)
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    def __init__(self, epoch: _Optional[int] = ...) -> None: ...

class GetReceiptResponse(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: _types_pb2.Receipt
    def __init__(self, receipt: _Optional[_Union[_types_pb2.Receipt, _Mapping]] = ...) -> None: ...

class WatchDirectivesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchDirectivesResponse(_message.Message):
    __slots__ = ("directive", "epoch", "initial")
    DIRECTIVE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    INITIAL_FIELD_NUMBER: _ClassVar[int]
    directive: _types_pb2.Directive
    epoch: int
    initial: bool
    def __init__(self, directive: _Optional[_Union[_types_pb2.Directive, _Mapping]] = ..., epoch: _Optional[int] = ..., initial: bool = ...) -> None: ...

class VerifyContainmentRequest(_message.Message):
    __slots__ = ("agent", "max_calls")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    MAX_CALLS_FIELD_NUMBER: _ClassVar[int]
    agent: str
    max_calls: int
    def __init__(self, agent: _Optional[str] = ..., max_calls: _Optional[int] = ...) -> None: ...

class VerifyContainmentResponse(_message.Message):
    __slots__ = ("items", "contained", "statement")
    class Item(_message.Message):
        __slots__ = ("decision_id", "tool", "original_effect", "effect", "reason")
        DECISION_ID_FIELD_NUMBER: _ClassVar[int]
        TOOL_FIELD_NUMBER: _ClassVar[int]
        ORIGINAL_EFFECT_FIELD_NUMBER: _ClassVar[int]
        EFFECT_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        decision_id: str
        tool: str
        original_effect: _types_pb2.Effect
        effect: _types_pb2.Effect
        reason: _types_pb2.Reason
        def __init__(self, decision_id: _Optional[str] = ..., tool: _Optional[str] = ..., original_effect: _Optional[_Union[_types_pb2.Effect, str]] = ..., effect: _Optional[_Union[_types_pb2.Effect, str]] = ..., reason: _Optional[_Union[_types_pb2.Reason, _Mapping]] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    CONTAINED_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[VerifyContainmentResponse.Item]
    contained: bool
    statement: str
    def __init__(self, items: _Optional[_Iterable[_Union[VerifyContainmentResponse.Item, _Mapping]]] = ..., contained: bool = ..., statement: _Optional[str] = ...) -> None: ...
