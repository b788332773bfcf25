import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from sidecar.api.v1 import guard_pb2 as _guard_pb2
from sidecar.api.v1 import options_pb2 as _options_pb2
from sidecar.api.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PolicySet(_message.Message):
    __slots__ = ("digest", "activate_time", "epoch", "files", "policy_count")
    class FilesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ACTIVATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    POLICY_COUNT_FIELD_NUMBER: _ClassVar[int]
    digest: str
    activate_time: _timestamp_pb2.Timestamp
    epoch: int
    files: _containers.ScalarMap[str, bytes]
    policy_count: int
    def __init__(self, digest: _Optional[str] = ..., activate_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., epoch: _Optional[int] = ..., files: _Optional[_Mapping[str, bytes]] = ..., policy_count: _Optional[int] = ...) -> None: ...

class GetPolicySetRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetPolicySetResponse(_message.Message):
    __slots__ = ("policy_set",)
    POLICY_SET_FIELD_NUMBER: _ClassVar[int]
    policy_set: PolicySet
    def __init__(self, policy_set: _Optional[_Union[PolicySet, _Mapping]] = ...) -> None: ...

class ExplainDecisionRequest(_message.Message):
    __slots__ = ("agent", "tool_call")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_FIELD_NUMBER: _ClassVar[int]
    agent: str
    tool_call: _guard_pb2.ToolCall
    def __init__(self, agent: _Optional[str] = ..., tool_call: _Optional[_Union[_guard_pb2.ToolCall, _Mapping]] = ...) -> None: ...

class ExplainDecisionResponse(_message.Message):
    __slots__ = ("effect", "reasons", "policies", "projection", "directives")
    class Policy(_message.Message):
        __slots__ = ("id", "file", "line", "effect", "matched", "annotations")
        class AnnotationsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: str
            def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
        ID_FIELD_NUMBER: _ClassVar[int]
        FILE_FIELD_NUMBER: _ClassVar[int]
        LINE_FIELD_NUMBER: _ClassVar[int]
        EFFECT_FIELD_NUMBER: _ClassVar[int]
        MATCHED_FIELD_NUMBER: _ClassVar[int]
        ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
        id: str
        file: str
        line: int
        effect: str
        matched: bool
        annotations: _containers.ScalarMap[str, str]
        def __init__(self, id: _Optional[str] = ..., file: _Optional[str] = ..., line: _Optional[int] = ..., effect: _Optional[str] = ..., matched: bool = ..., annotations: _Optional[_Mapping[str, str]] = ...) -> None: ...
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_FIELD_NUMBER: _ClassVar[int]
    DIRECTIVES_FIELD_NUMBER: _ClassVar[int]
    effect: _types_pb2.Effect
    reasons: _containers.RepeatedCompositeFieldContainer[_types_pb2.Reason]
    policies: _containers.RepeatedCompositeFieldContainer[ExplainDecisionResponse.Policy]
    projection: _containers.RepeatedScalarFieldContainer[str]
    directives: _containers.RepeatedCompositeFieldContainer[_types_pb2.Directive]
    def __init__(self, effect: _Optional[_Union[_types_pb2.Effect, str]] = ..., reasons: _Optional[_Iterable[_Union[_types_pb2.Reason, _Mapping]]] = ..., policies: _Optional[_Iterable[_Union[ExplainDecisionResponse.Policy, _Mapping]]] = ..., projection: _Optional[_Iterable[str]] = ..., directives: _Optional[_Iterable[_Union[_types_pb2.Directive, _Mapping]]] = ...) -> None: ...

class ReloadPolicySetRequest(_message.Message):
    __slots__ = ("request_id", "validate_only")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    validate_only: bool
    def __init__(self, request_id: _Optional[str] = ..., validate_only: bool = ...) -> None: ...

class ReloadPolicySetResponse(_message.Message):
    __slots__ = ("policy_set", "changed", "operation")
    POLICY_SET_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    policy_set: PolicySet
    changed: bool
    operation: _types_pb2.Operation
    def __init__(self, policy_set: _Optional[_Union[PolicySet, _Mapping]] = ..., changed: bool = ..., operation: _Optional[_Union[_types_pb2.Operation, _Mapping]] = ...) -> None: ...
