from sidecar.api.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SyncRequest(_message.Message):
    __slots__ = ("hello", "ack", "inventory", "replayed", "hold", "ask_approval", "abandon")
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
    class Hold(_message.Message):
        __slots__ = ("id", "agent", "canonical", "policy_digest", "epoch", "decision_id", "reason", "tier", "approver_role", "quorum", "expiry_s", "policies")
        ID_FIELD_NUMBER: _ClassVar[int]
        AGENT_FIELD_NUMBER: _ClassVar[int]
        CANONICAL_FIELD_NUMBER: _ClassVar[int]
        POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
        EPOCH_FIELD_NUMBER: _ClassVar[int]
        DECISION_ID_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        TIER_FIELD_NUMBER: _ClassVar[int]
        APPROVER_ROLE_FIELD_NUMBER: _ClassVar[int]
        QUORUM_FIELD_NUMBER: _ClassVar[int]
        EXPIRY_S_FIELD_NUMBER: _ClassVar[int]
        POLICIES_FIELD_NUMBER: _ClassVar[int]
        id: int
        agent: str
        canonical: bytes
        policy_digest: str
        epoch: int
        decision_id: str
        reason: str
        tier: str
        approver_role: str
        quorum: int
        expiry_s: int
        policies: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, id: _Optional[int] = ..., agent: _Optional[str] = ..., canonical: _Optional[bytes] = ..., policy_digest: _Optional[str] = ..., epoch: _Optional[int] = ..., decision_id: _Optional[str] = ..., reason: _Optional[str] = ..., tier: _Optional[str] = ..., approver_role: _Optional[str] = ..., quorum: _Optional[int] = ..., expiry_s: _Optional[int] = ..., policies: _Optional[_Iterable[str]] = ...) -> None: ...
    class AskApproval(_message.Message):
        __slots__ = ("agent", "approval")
        AGENT_FIELD_NUMBER: _ClassVar[int]
        APPROVAL_FIELD_NUMBER: _ClassVar[int]
        agent: str
        approval: str
        def __init__(self, agent: _Optional[str] = ..., approval: _Optional[str] = ...) -> None: ...
    class Abandon(_message.Message):
        __slots__ = ("agent", "approval", "asked")
        AGENT_FIELD_NUMBER: _ClassVar[int]
        APPROVAL_FIELD_NUMBER: _ClassVar[int]
        ASKED_FIELD_NUMBER: _ClassVar[int]
        agent: str
        approval: str
        asked: bool
        def __init__(self, agent: _Optional[str] = ..., approval: _Optional[str] = ..., asked: bool = ...) -> None: ...
    HELLO_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    INVENTORY_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    ASK_APPROVAL_FIELD_NUMBER: _ClassVar[int]
    ABANDON_FIELD_NUMBER: _ClassVar[int]
    hello: SyncRequest.Hello
    ack: SyncRequest.Ack
    inventory: SyncRequest.Inventory
    replayed: SyncRequest.Replayed
    hold: SyncRequest.Hold
    ask_approval: SyncRequest.AskApproval
    abandon: SyncRequest.Abandon
    def __init__(self, hello: _Optional[_Union[SyncRequest.Hello, _Mapping]] = ..., ack: _Optional[_Union[SyncRequest.Ack, _Mapping]] = ..., inventory: _Optional[_Union[SyncRequest.Inventory, _Mapping]] = ..., replayed: _Optional[_Union[SyncRequest.Replayed, _Mapping]] = ..., hold: _Optional[_Union[SyncRequest.Hold, _Mapping]] = ..., ask_approval: _Optional[_Union[SyncRequest.AskApproval, _Mapping]] = ..., abandon: _Optional[_Union[SyncRequest.Abandon, _Mapping]] = ...) -> None: ...

class SyncResponse(_message.Message):
    __slots__ = ("revocations", "bundle", "nudge", "replay", "held", "approval_changed")
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
    class Held(_message.Message):
        __slots__ = ("id", "approval", "pending", "consumed", "denied")
        class Pending(_message.Message):
            __slots__ = ("expire_time_ns", "approvers", "url")
            EXPIRE_TIME_NS_FIELD_NUMBER: _ClassVar[int]
            APPROVERS_FIELD_NUMBER: _ClassVar[int]
            URL_FIELD_NUMBER: _ClassVar[int]
            expire_time_ns: int
            approvers: _containers.RepeatedScalarFieldContainer[str]
            url: str
            def __init__(self, expire_time_ns: _Optional[int] = ..., approvers: _Optional[_Iterable[str]] = ..., url: _Optional[str] = ...) -> None: ...
        class Consumed(_message.Message):
            __slots__ = ("epoch", "policy_digest", "fingerprint", "granters")
            EPOCH_FIELD_NUMBER: _ClassVar[int]
            POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
            FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
            GRANTERS_FIELD_NUMBER: _ClassVar[int]
            epoch: int
            policy_digest: str
            fingerprint: str
            granters: _containers.RepeatedScalarFieldContainer[str]
            def __init__(self, epoch: _Optional[int] = ..., policy_digest: _Optional[str] = ..., fingerprint: _Optional[str] = ..., granters: _Optional[_Iterable[str]] = ...) -> None: ...
        ID_FIELD_NUMBER: _ClassVar[int]
        APPROVAL_FIELD_NUMBER: _ClassVar[int]
        PENDING_FIELD_NUMBER: _ClassVar[int]
        CONSUMED_FIELD_NUMBER: _ClassVar[int]
        DENIED_FIELD_NUMBER: _ClassVar[int]
        id: int
        approval: str
        pending: SyncResponse.Held.Pending
        consumed: SyncResponse.Held.Consumed
        denied: _types_pb2.Reason
        def __init__(self, id: _Optional[int] = ..., approval: _Optional[str] = ..., pending: _Optional[_Union[SyncResponse.Held.Pending, _Mapping]] = ..., consumed: _Optional[_Union[SyncResponse.Held.Consumed, _Mapping]] = ..., denied: _Optional[_Union[_types_pb2.Reason, _Mapping]] = ...) -> None: ...
    class ApprovalChanged(_message.Message):
        __slots__ = ("approval", "agent", "state", "reason", "expire_time_ns")
        APPROVAL_FIELD_NUMBER: _ClassVar[int]
        AGENT_FIELD_NUMBER: _ClassVar[int]
        STATE_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        EXPIRE_TIME_NS_FIELD_NUMBER: _ClassVar[int]
        approval: str
        agent: str
        state: str
        reason: _types_pb2.Reason
        expire_time_ns: int
        def __init__(self, approval: _Optional[str] = ..., agent: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[_Union[_types_pb2.Reason, _Mapping]] = ..., expire_time_ns: _Optional[int] = ...) -> None: ...
    REVOCATIONS_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    NUDGE_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_CHANGED_FIELD_NUMBER: _ClassVar[int]
    revocations: SyncResponse.Revocations
    bundle: SyncResponse.Bundle
    nudge: SyncResponse.Nudge
    replay: SyncResponse.Replay
    held: SyncResponse.Held
    approval_changed: SyncResponse.ApprovalChanged
    def __init__(self, revocations: _Optional[_Union[SyncResponse.Revocations, _Mapping]] = ..., bundle: _Optional[_Union[SyncResponse.Bundle, _Mapping]] = ..., nudge: _Optional[_Union[SyncResponse.Nudge, _Mapping]] = ..., replay: _Optional[_Union[SyncResponse.Replay, _Mapping]] = ..., held: _Optional[_Union[SyncResponse.Held, _Mapping]] = ..., approval_changed: _Optional[_Union[SyncResponse.ApprovalChanged, _Mapping]] = ...) -> None: ...

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
