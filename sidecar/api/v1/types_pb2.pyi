import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Effect(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EFFECT_UNSPECIFIED: _ClassVar[Effect]
    EFFECT_ALLOW: _ClassVar[Effect]
    EFFECT_DENY: _ClassVar[Effect]
    EFFECT_HOLD: _ClassVar[Effect]

class ToolClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TOOL_CLASS_UNSPECIFIED: _ClassVar[ToolClass]
    TOOL_CLASS_READ: _ClassVar[ToolClass]
    TOOL_CLASS_WRITE: _ClassVar[ToolClass]
    TOOL_CLASS_DESTRUCTIVE: _ClassVar[ToolClass]
    TOOL_CLASS_EXTERNAL: _ClassVar[ToolClass]

class Level(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEVEL_UNSPECIFIED: _ClassVar[Level]
    LEVEL_OBSERVE: _ClassVar[Level]
    LEVEL_THROTTLE: _ClassVar[Level]
    LEVEL_HOLD: _ClassVar[Level]
    LEVEL_READ_ONLY: _ClassVar[Level]
    LEVEL_FREEZE: _ClassVar[Level]
    LEVEL_KILL: _ClassVar[Level]
EFFECT_UNSPECIFIED: Effect
EFFECT_ALLOW: Effect
EFFECT_DENY: Effect
EFFECT_HOLD: Effect
TOOL_CLASS_UNSPECIFIED: ToolClass
TOOL_CLASS_READ: ToolClass
TOOL_CLASS_WRITE: ToolClass
TOOL_CLASS_DESTRUCTIVE: ToolClass
TOOL_CLASS_EXTERNAL: ToolClass
LEVEL_UNSPECIFIED: Level
LEVEL_OBSERVE: Level
LEVEL_THROTTLE: Level
LEVEL_HOLD: Level
LEVEL_READ_ONLY: Level
LEVEL_FREEZE: Level
LEVEL_KILL: Level

class Reason(_message.Message):
    __slots__ = ("code", "text", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    code: str
    text: str
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, code: _Optional[str] = ..., text: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Obligations(_message.Message):
    __slots__ = ("addresses", "max_redirects", "hold_reason", "hold_tier", "hold_approver_role", "hold_quorum", "hold_expiry", "executables", "approval", "hold_expire_time", "hold_approvers", "hold_url")
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    MAX_REDIRECTS_FIELD_NUMBER: _ClassVar[int]
    HOLD_REASON_FIELD_NUMBER: _ClassVar[int]
    HOLD_TIER_FIELD_NUMBER: _ClassVar[int]
    HOLD_APPROVER_ROLE_FIELD_NUMBER: _ClassVar[int]
    HOLD_QUORUM_FIELD_NUMBER: _ClassVar[int]
    HOLD_EXPIRY_FIELD_NUMBER: _ClassVar[int]
    EXECUTABLES_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    HOLD_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    HOLD_APPROVERS_FIELD_NUMBER: _ClassVar[int]
    HOLD_URL_FIELD_NUMBER: _ClassVar[int]
    addresses: _containers.RepeatedScalarFieldContainer[str]
    max_redirects: int
    hold_reason: str
    hold_tier: str
    hold_approver_role: str
    hold_quorum: int
    hold_expiry: _duration_pb2.Duration
    executables: _containers.RepeatedCompositeFieldContainer[Executable]
    approval: str
    hold_expire_time: _timestamp_pb2.Timestamp
    hold_approvers: _containers.RepeatedScalarFieldContainer[str]
    hold_url: str
    def __init__(self, addresses: _Optional[_Iterable[str]] = ..., max_redirects: _Optional[int] = ..., hold_reason: _Optional[str] = ..., hold_tier: _Optional[str] = ..., hold_approver_role: _Optional[str] = ..., hold_quorum: _Optional[int] = ..., hold_expiry: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., executables: _Optional[_Iterable[_Union[Executable, _Mapping]]] = ..., approval: _Optional[str] = ..., hold_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., hold_approvers: _Optional[_Iterable[str]] = ..., hold_url: _Optional[str] = ...) -> None: ...

class Executable(_message.Message):
    __slots__ = ("path", "device", "inode", "sha256", "change_time")
    PATH_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    INODE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    CHANGE_TIME_FIELD_NUMBER: _ClassVar[int]
    path: str
    device: int
    inode: int
    sha256: str
    change_time: _timestamp_pb2.Timestamp
    def __init__(self, path: _Optional[str] = ..., device: _Optional[int] = ..., inode: _Optional[int] = ..., sha256: _Optional[str] = ..., change_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("effect", "reasons", "decision_id", "epoch", "valid_until", "fingerprint", "policy_digest", "tool_class", "obligations", "cached")
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TOOL_CLASS_FIELD_NUMBER: _ClassVar[int]
    OBLIGATIONS_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    effect: Effect
    reasons: _containers.RepeatedCompositeFieldContainer[Reason]
    decision_id: str
    epoch: int
    valid_until: _timestamp_pb2.Timestamp
    fingerprint: str
    policy_digest: str
    tool_class: ToolClass
    obligations: Obligations
    cached: bool
    def __init__(self, effect: _Optional[_Union[Effect, str]] = ..., reasons: _Optional[_Iterable[_Union[Reason, _Mapping]]] = ..., decision_id: _Optional[str] = ..., epoch: _Optional[int] = ..., valid_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., fingerprint: _Optional[str] = ..., policy_digest: _Optional[str] = ..., tool_class: _Optional[_Union[ToolClass, str]] = ..., obligations: _Optional[_Union[Obligations, _Mapping]] = ..., cached: bool = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("agent", "session", "tool", "tool_at_agent", "destination", "principal", "labels", "all")
    class Session(_message.Message):
        __slots__ = ("agent", "session")
        AGENT_FIELD_NUMBER: _ClassVar[int]
        SESSION_FIELD_NUMBER: _ClassVar[int]
        agent: str
        session: str
        def __init__(self, agent: _Optional[str] = ..., session: _Optional[str] = ...) -> None: ...
    class ToolAtAgent(_message.Message):
        __slots__ = ("agent", "tool")
        AGENT_FIELD_NUMBER: _ClassVar[int]
        TOOL_FIELD_NUMBER: _ClassVar[int]
        agent: str
        tool: str
        def __init__(self, agent: _Optional[str] = ..., tool: _Optional[str] = ...) -> None: ...
    class Labels(_message.Message):
        __slots__ = ("labels",)
        class LabelsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: str
            def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
        LABELS_FIELD_NUMBER: _ClassVar[int]
        labels: _containers.ScalarMap[str, str]
        def __init__(self, labels: _Optional[_Mapping[str, str]] = ...) -> None: ...
    class All(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    AGENT_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TOOL_FIELD_NUMBER: _ClassVar[int]
    TOOL_AT_AGENT_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    agent: str
    session: Target.Session
    tool: str
    tool_at_agent: Target.ToolAtAgent
    destination: str
    principal: str
    labels: Target.Labels
    all: Target.All
    def __init__(self, agent: _Optional[str] = ..., session: _Optional[_Union[Target.Session, _Mapping]] = ..., tool: _Optional[str] = ..., tool_at_agent: _Optional[_Union[Target.ToolAtAgent, _Mapping]] = ..., destination: _Optional[str] = ..., principal: _Optional[str] = ..., labels: _Optional[_Union[Target.Labels, _Mapping]] = ..., all: _Optional[_Union[Target.All, _Mapping]] = ...) -> None: ...

class Directive(_message.Message):
    __slots__ = ("name", "epoch", "target", "level", "reason", "author", "create_time", "expire_time", "throttle_calls_per_minute", "state", "releaser", "end_time")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Directive.State]
        STATE_ACTIVE: _ClassVar[Directive.State]
        STATE_RELEASED: _ClassVar[Directive.State]
        STATE_EXPIRED: _ClassVar[Directive.State]
    STATE_UNSPECIFIED: Directive.State
    STATE_ACTIVE: Directive.State
    STATE_RELEASED: Directive.State
    STATE_EXPIRED: Directive.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    THROTTLE_CALLS_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RELEASER_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    epoch: int
    target: Target
    level: Level
    reason: str
    author: str
    create_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    throttle_calls_per_minute: int
    state: Directive.State
    releaser: str
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., epoch: _Optional[int] = ..., target: _Optional[_Union[Target, _Mapping]] = ..., level: _Optional[_Union[Level, str]] = ..., reason: _Optional[str] = ..., author: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., throttle_calls_per_minute: _Optional[int] = ..., state: _Optional[_Union[Directive.State, str]] = ..., releaser: _Optional[str] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("directive", "durable", "gates", "contained", "last_allow_time", "isolation", "log_index", "checkpoint", "signed_json", "signature", "key_id", "issue_time")
    class GateItem(_message.Message):
        __slots__ = ("gate", "state", "applied_epoch", "ack_time", "last_allow_time")
        class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            STATE_UNSPECIFIED: _ClassVar[Receipt.GateItem.State]
            STATE_ENFORCED: _ClassVar[Receipt.GateItem.State]
            STATE_LAGGARD: _ClassVar[Receipt.GateItem.State]
            STATE_DISCONNECTED: _ClassVar[Receipt.GateItem.State]
        STATE_UNSPECIFIED: Receipt.GateItem.State
        STATE_ENFORCED: Receipt.GateItem.State
        STATE_LAGGARD: Receipt.GateItem.State
        STATE_DISCONNECTED: Receipt.GateItem.State
        GATE_FIELD_NUMBER: _ClassVar[int]
        STATE_FIELD_NUMBER: _ClassVar[int]
        APPLIED_EPOCH_FIELD_NUMBER: _ClassVar[int]
        ACK_TIME_FIELD_NUMBER: _ClassVar[int]
        LAST_ALLOW_TIME_FIELD_NUMBER: _ClassVar[int]
        gate: str
        state: Receipt.GateItem.State
        applied_epoch: int
        ack_time: _timestamp_pb2.Timestamp
        last_allow_time: _timestamp_pb2.Timestamp
        def __init__(self, gate: _Optional[str] = ..., state: _Optional[_Union[Receipt.GateItem.State, str]] = ..., applied_epoch: _Optional[int] = ..., ack_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_allow_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
    class IsolationItem(_message.Message):
        __slots__ = ("driver", "subject", "result", "detail")
        DRIVER_FIELD_NUMBER: _ClassVar[int]
        SUBJECT_FIELD_NUMBER: _ClassVar[int]
        RESULT_FIELD_NUMBER: _ClassVar[int]
        DETAIL_FIELD_NUMBER: _ClassVar[int]
        driver: str
        subject: str
        result: str
        detail: str
        def __init__(self, driver: _Optional[str] = ..., subject: _Optional[str] = ..., result: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...
    DIRECTIVE_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    GATES_FIELD_NUMBER: _ClassVar[int]
    CONTAINED_FIELD_NUMBER: _ClassVar[int]
    LAST_ALLOW_TIME_FIELD_NUMBER: _ClassVar[int]
    ISOLATION_FIELD_NUMBER: _ClassVar[int]
    LOG_INDEX_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    SIGNED_JSON_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUE_TIME_FIELD_NUMBER: _ClassVar[int]
    directive: Directive
    durable: bool
    gates: _containers.RepeatedCompositeFieldContainer[Receipt.GateItem]
    contained: bool
    last_allow_time: _timestamp_pb2.Timestamp
    isolation: _containers.RepeatedCompositeFieldContainer[Receipt.IsolationItem]
    log_index: int
    checkpoint: str
    signed_json: bytes
    signature: bytes
    key_id: str
    issue_time: _timestamp_pb2.Timestamp
    def __init__(self, directive: _Optional[_Union[Directive, _Mapping]] = ..., durable: bool = ..., gates: _Optional[_Iterable[_Union[Receipt.GateItem, _Mapping]]] = ..., contained: bool = ..., last_allow_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., isolation: _Optional[_Iterable[_Union[Receipt.IsolationItem, _Mapping]]] = ..., log_index: _Optional[int] = ..., checkpoint: _Optional[str] = ..., signed_json: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., key_id: _Optional[str] = ..., issue_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Operation(_message.Message):
    __slots__ = ("name", "state", "action", "summary", "request_id", "requester", "approval", "fingerprint", "create_time", "expire_time", "end_time", "detail", "error_reason", "receipt", "directive", "policy_digest", "epoch", "approvers", "url", "fingerprint_words")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Operation.State]
        STATE_PENDING_APPROVAL: _ClassVar[Operation.State]
        STATE_RUNNING: _ClassVar[Operation.State]
        STATE_DONE: _ClassVar[Operation.State]
        STATE_REFUSED: _ClassVar[Operation.State]
        STATE_EXPIRED: _ClassVar[Operation.State]
        STATE_CANCELLED: _ClassVar[Operation.State]
        STATE_FAILED: _ClassVar[Operation.State]
    STATE_UNSPECIFIED: Operation.State
    STATE_PENDING_APPROVAL: Operation.State
    STATE_RUNNING: Operation.State
    STATE_DONE: Operation.State
    STATE_REFUSED: Operation.State
    STATE_EXPIRED: Operation.State
    STATE_CANCELLED: Operation.State
    STATE_FAILED: Operation.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    ERROR_REASON_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    DIRECTIVE_FIELD_NUMBER: _ClassVar[int]
    POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    APPROVERS_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_WORDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: Operation.State
    action: str
    summary: str
    request_id: str
    requester: str
    approval: str
    fingerprint: str
    create_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    detail: str
    error_reason: str
    receipt: Receipt
    directive: Directive
    policy_digest: str
    epoch: int
    approvers: _containers.RepeatedScalarFieldContainer[str]
    url: str
    fingerprint_words: str
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[Operation.State, str]] = ..., action: _Optional[str] = ..., summary: _Optional[str] = ..., request_id: _Optional[str] = ..., requester: _Optional[str] = ..., approval: _Optional[str] = ..., fingerprint: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., detail: _Optional[str] = ..., error_reason: _Optional[str] = ..., receipt: _Optional[_Union[Receipt, _Mapping]] = ..., directive: _Optional[_Union[Directive, _Mapping]] = ..., policy_digest: _Optional[str] = ..., epoch: _Optional[int] = ..., approvers: _Optional[_Iterable[str]] = ..., url: _Optional[str] = ..., fingerprint_words: _Optional[str] = ...) -> None: ...
