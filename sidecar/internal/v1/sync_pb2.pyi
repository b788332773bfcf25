from sidecar.api.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SyncRequest(_message.Message):
    __slots__ = ("hello", "ack", "inventory", "replayed")
    class Hello(_message.Message):
        __slots__ = ("gate", "agents", "audit_directory", "verifier_key", "version")
        GATE_FIELD_NUMBER: _ClassVar[int]
        AGENTS_FIELD_NUMBER: _ClassVar[int]
        AUDIT_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
        VERIFIER_KEY_FIELD_NUMBER: _ClassVar[int]
        VERSION_FIELD_NUMBER: _ClassVar[int]
        gate: str
        agents: _containers.RepeatedScalarFieldContainer[str]
        audit_directory: str
        verifier_key: str
        version: str
        def __init__(self, gate: _Optional[str] = ..., agents: _Optional[_Iterable[str]] = ..., audit_directory: _Optional[str] = ..., verifier_key: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...
    class Ack(_message.Message):
        __slots__ = ("epoch", "last_allow_time_ns")
        class LastAllowTimeNsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: int
            def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
        EPOCH_FIELD_NUMBER: _ClassVar[int]
        LAST_ALLOW_TIME_NS_FIELD_NUMBER: _ClassVar[int]
        epoch: int
        last_allow_time_ns: _containers.ScalarMap[str, int]
        def __init__(self, epoch: _Optional[int] = ..., last_allow_time_ns: _Optional[_Mapping[str, int]] = ...) -> None: ...
    class Inventory(_message.Message):
        __slots__ = ("seen",)
        class Seen(_message.Message):
            __slots__ = ("agent", "tool", "calls", "hosts", "last_call_time_ns", "effects")
            class EffectsEntry(_message.Message):
                __slots__ = ("key", "value")
                KEY_FIELD_NUMBER: _ClassVar[int]
                VALUE_FIELD_NUMBER: _ClassVar[int]
                key: str
                value: int
                def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
            AGENT_FIELD_NUMBER: _ClassVar[int]
            TOOL_FIELD_NUMBER: _ClassVar[int]
            CALLS_FIELD_NUMBER: _ClassVar[int]
            HOSTS_FIELD_NUMBER: _ClassVar[int]
            LAST_CALL_TIME_NS_FIELD_NUMBER: _ClassVar[int]
            EFFECTS_FIELD_NUMBER: _ClassVar[int]
            agent: str
            tool: str
            calls: int
            hosts: _containers.RepeatedScalarFieldContainer[str]
            last_call_time_ns: int
            effects: _containers.ScalarMap[str, int]
            def __init__(self, agent: _Optional[str] = ..., tool: _Optional[str] = ..., calls: _Optional[int] = ..., hosts: _Optional[_Iterable[str]] = ..., last_call_time_ns: _Optional[int] = ..., effects: _Optional[_Mapping[str, int]] = ...) -> None: ...
        SEEN_FIELD_NUMBER: _ClassVar[int]
        seen: _containers.RepeatedCompositeFieldContainer[SyncRequest.Inventory.Seen]
        def __init__(self, seen: _Optional[_Iterable[_Union[SyncRequest.Inventory.Seen, _Mapping]]] = ...) -> None: ...
    class Replayed(_message.Message):
        __slots__ = ("id", "decisions", "tools", "original_effects", "decision_ids")
        ID_FIELD_NUMBER: _ClassVar[int]
        DECISIONS_FIELD_NUMBER: _ClassVar[int]
        TOOLS_FIELD_NUMBER: _ClassVar[int]
        ORIGINAL_EFFECTS_FIELD_NUMBER: _ClassVar[int]
        DECISION_IDS_FIELD_NUMBER: _ClassVar[int]
        id: int
        decisions: _containers.RepeatedCompositeFieldContainer[_types_pb2.Decision]
        tools: _containers.RepeatedScalarFieldContainer[str]
        original_effects: _containers.RepeatedScalarFieldContainer[_types_pb2.Effect]
        decision_ids: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, id: _Optional[int] = ..., decisions: _Optional[_Iterable[_Union[_types_pb2.Decision, _Mapping]]] = ..., tools: _Optional[_Iterable[str]] = ..., original_effects: _Optional[_Iterable[_Union[_types_pb2.Effect, str]]] = ..., decision_ids: _Optional[_Iterable[str]] = ...) -> None: ...
    HELLO_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    INVENTORY_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    hello: SyncRequest.Hello
    ack: SyncRequest.Ack
    inventory: SyncRequest.Inventory
    replayed: SyncRequest.Replayed
    def __init__(self, hello: _Optional[_Union[SyncRequest.Hello, _Mapping]] = ..., ack: _Optional[_Union[SyncRequest.Ack, _Mapping]] = ..., inventory: _Optional[_Union[SyncRequest.Inventory, _Mapping]] = ..., replayed: _Optional[_Union[SyncRequest.Replayed, _Mapping]] = ...) -> None: ...

class SyncResponse(_message.Message):
    __slots__ = ("revocations", "bundle", "nudge", "replay")
    class Revocations(_message.Message):
        __slots__ = ("rules", "complete")
        RULES_FIELD_NUMBER: _ClassVar[int]
        COMPLETE_FIELD_NUMBER: _ClassVar[int]
        rules: _containers.RepeatedScalarFieldContainer[bytes]
        complete: bool
        def __init__(self, rules: _Optional[_Iterable[bytes]] = ..., complete: bool = ...) -> None: ...
    class Bundle(_message.Message):
        __slots__ = ("digest", "files")
        class FilesEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: bytes
            def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
        DIGEST_FIELD_NUMBER: _ClassVar[int]
        FILES_FIELD_NUMBER: _ClassVar[int]
        digest: str
        files: _containers.ScalarMap[str, bytes]
        def __init__(self, digest: _Optional[str] = ..., files: _Optional[_Mapping[str, bytes]] = ...) -> None: ...
    class Nudge(_message.Message):
        __slots__ = ("epoch",)
        EPOCH_FIELD_NUMBER: _ClassVar[int]
        epoch: int
        def __init__(self, epoch: _Optional[int] = ...) -> None: ...
    class Replay(_message.Message):
        __slots__ = ("id", "agent", "max_calls")
        ID_FIELD_NUMBER: _ClassVar[int]
        AGENT_FIELD_NUMBER: _ClassVar[int]
        MAX_CALLS_FIELD_NUMBER: _ClassVar[int]
        id: int
        agent: str
        max_calls: int
        def __init__(self, id: _Optional[int] = ..., agent: _Optional[str] = ..., max_calls: _Optional[int] = ...) -> None: ...
    REVOCATIONS_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    NUDGE_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    revocations: SyncResponse.Revocations
    bundle: SyncResponse.Bundle
    nudge: SyncResponse.Nudge
    replay: SyncResponse.Replay
    def __init__(self, revocations: _Optional[_Union[SyncResponse.Revocations, _Mapping]] = ..., bundle: _Optional[_Union[SyncResponse.Bundle, _Mapping]] = ..., nudge: _Optional[_Union[SyncResponse.Nudge, _Mapping]] = ..., replay: _Optional[_Union[SyncResponse.Replay, _Mapping]] = ...) -> None: ...

class RegisterRuntimeRequest(_message.Message):
    __slots__ = ("agent", "process_group", "leader", "leader_start_time")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    PROCESS_GROUP_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    LEADER_START_TIME_FIELD_NUMBER: _ClassVar[int]
    agent: str
    process_group: int
    leader: int
    leader_start_time: int
    def __init__(self, agent: _Optional[str] = ..., process_group: _Optional[int] = ..., leader: _Optional[int] = ..., leader_start_time: _Optional[int] = ...) -> None: ...

class RegisterRuntimeResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
