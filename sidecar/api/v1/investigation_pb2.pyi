import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from sidecar.api.v1 import options_pb2 as _options_pb2
from sidecar.api.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetAgentTimelineRequest(_message.Message):
    __slots__ = ("agent", "since", "until", "page_size", "page_token", "session")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    agent: str
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    session: str
    def __init__(self, agent: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., session: _Optional[str] = ...) -> None: ...

class GetAgentTimelineResponse(_message.Message):
    __slots__ = ("events", "next_page_token")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[TimelineEvent]
    next_page_token: str
    def __init__(self, events: _Optional[_Iterable[_Union[TimelineEvent, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class TimelineEvent(_message.Message):
    __slots__ = ("time", "kind", "log", "index", "session", "tool", "tool_class", "effect", "reason", "destination", "decision_id", "fingerprint", "outcome", "operator", "summary")
    TIME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TOOL_FIELD_NUMBER: _ClassVar[int]
    TOOL_CLASS_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    kind: str
    log: str
    index: int
    session: str
    tool: str
    tool_class: _types_pb2.ToolClass
    effect: _types_pb2.Effect
    reason: str
    destination: str
    decision_id: str
    fingerprint: str
    outcome: str
    operator: str
    summary: str
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kind: _Optional[str] = ..., log: _Optional[str] = ..., index: _Optional[int] = ..., session: _Optional[str] = ..., tool: _Optional[str] = ..., tool_class: _Optional[_Union[_types_pb2.ToolClass, str]] = ..., effect: _Optional[_Union[_types_pb2.Effect, str]] = ..., reason: _Optional[str] = ..., destination: _Optional[str] = ..., decision_id: _Optional[str] = ..., fingerprint: _Optional[str] = ..., outcome: _Optional[str] = ..., operator: _Optional[str] = ..., summary: _Optional[str] = ...) -> None: ...

class GetBlastRadiusRequest(_message.Message):
    __slots__ = ("agent", "since", "until")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    agent: str
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    def __init__(self, agent: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetBlastRadiusResponse(_message.Message):
    __slots__ = ("blast_radius",)
    BLAST_RADIUS_FIELD_NUMBER: _ClassVar[int]
    blast_radius: BlastRadius
    def __init__(self, blast_radius: _Optional[_Union[BlastRadius, _Mapping]] = ...) -> None: ...

class BlastRadius(_message.Message):
    __slots__ = ("agent", "since", "until", "tools", "data_classes", "destinations", "credentials", "humans", "sessions", "decision_counts", "irreversible_count", "first_call_time", "last_allow_time", "truncated", "statement")
    class DecisionCountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class ToolUse(_message.Message):
        __slots__ = ("tool", "tool_class", "data_class", "undo", "allow_count", "deny_count", "hold_count", "destinations", "last_allow_time")
        TOOL_FIELD_NUMBER: _ClassVar[int]
        TOOL_CLASS_FIELD_NUMBER: _ClassVar[int]
        DATA_CLASS_FIELD_NUMBER: _ClassVar[int]
        UNDO_FIELD_NUMBER: _ClassVar[int]
        ALLOW_COUNT_FIELD_NUMBER: _ClassVar[int]
        DENY_COUNT_FIELD_NUMBER: _ClassVar[int]
        HOLD_COUNT_FIELD_NUMBER: _ClassVar[int]
        DESTINATIONS_FIELD_NUMBER: _ClassVar[int]
        LAST_ALLOW_TIME_FIELD_NUMBER: _ClassVar[int]
        tool: str
        tool_class: _types_pb2.ToolClass
        data_class: str
        undo: str
        allow_count: int
        deny_count: int
        hold_count: int
        destinations: _containers.RepeatedScalarFieldContainer[str]
        last_allow_time: _timestamp_pb2.Timestamp
        def __init__(self, tool: _Optional[str] = ..., tool_class: _Optional[_Union[_types_pb2.ToolClass, str]] = ..., data_class: _Optional[str] = ..., undo: _Optional[str] = ..., allow_count: _Optional[int] = ..., deny_count: _Optional[int] = ..., hold_count: _Optional[int] = ..., destinations: _Optional[_Iterable[str]] = ..., last_allow_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
    AGENT_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    DATA_CLASSES_FIELD_NUMBER: _ClassVar[int]
    DESTINATIONS_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    HUMANS_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    DECISION_COUNTS_FIELD_NUMBER: _ClassVar[int]
    IRREVERSIBLE_COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_CALL_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_ALLOW_TIME_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    agent: str
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    tools: _containers.RepeatedCompositeFieldContainer[BlastRadius.ToolUse]
    data_classes: _containers.RepeatedScalarFieldContainer[str]
    destinations: _containers.RepeatedScalarFieldContainer[str]
    credentials: _containers.RepeatedScalarFieldContainer[str]
    humans: _containers.RepeatedScalarFieldContainer[str]
    sessions: _containers.RepeatedScalarFieldContainer[str]
    decision_counts: _containers.ScalarMap[str, int]
    irreversible_count: int
    first_call_time: _timestamp_pb2.Timestamp
    last_allow_time: _timestamp_pb2.Timestamp
    truncated: bool
    statement: str
    def __init__(self, agent: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tools: _Optional[_Iterable[_Union[BlastRadius.ToolUse, _Mapping]]] = ..., data_classes: _Optional[_Iterable[str]] = ..., destinations: _Optional[_Iterable[str]] = ..., credentials: _Optional[_Iterable[str]] = ..., humans: _Optional[_Iterable[str]] = ..., sessions: _Optional[_Iterable[str]] = ..., decision_counts: _Optional[_Mapping[str, int]] = ..., irreversible_count: _Optional[int] = ..., first_call_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_allow_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., truncated: bool = ..., statement: _Optional[str] = ...) -> None: ...
