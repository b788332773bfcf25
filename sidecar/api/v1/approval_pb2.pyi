import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from sidecar.api.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Approval(_message.Message):
    __slots__ = ("name", "state", "fingerprint", "agent", "tool", "reason", "tier", "create_time", "expire_time", "summary", "fingerprint_words", "canonical", "session", "operation", "requester", "approver_role", "quorum", "passkey_required", "reason_required", "votes", "approvers", "url", "policy_digest", "epoch", "policies", "decision_id", "consuming_decision_id", "detail", "end_time", "folded_count", "passkey_challenge")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Approval.State]
        STATE_PENDING: _ClassVar[Approval.State]
        STATE_GRANTED: _ClassVar[Approval.State]
        STATE_CONSUMED: _ClassVar[Approval.State]
        STATE_REFUSED: _ClassVar[Approval.State]
        STATE_EXPIRED: _ClassVar[Approval.State]
        STATE_CANCELLED: _ClassVar[Approval.State]
    STATE_UNSPECIFIED: Approval.State
    STATE_PENDING: Approval.State
    STATE_GRANTED: Approval.State
    STATE_CONSUMED: Approval.State
    STATE_REFUSED: Approval.State
    STATE_EXPIRED: Approval.State
    STATE_CANCELLED: Approval.State
    class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        VERDICT_UNSPECIFIED: _ClassVar[Approval.Verdict]
        VERDICT_GRANT: _ClassVar[Approval.Verdict]
        VERDICT_REFUSE: _ClassVar[Approval.Verdict]
    VERDICT_UNSPECIFIED: Approval.Verdict
    VERDICT_GRANT: Approval.Verdict
    VERDICT_REFUSE: Approval.Verdict
    class Vote(_message.Message):
        __slots__ = ("operator", "verdict", "reason", "create_time", "signed", "channel")
        OPERATOR_FIELD_NUMBER: _ClassVar[int]
        VERDICT_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
        SIGNED_FIELD_NUMBER: _ClassVar[int]
        CHANNEL_FIELD_NUMBER: _ClassVar[int]
        operator: str
        verdict: Approval.Verdict
        reason: str
        create_time: _timestamp_pb2.Timestamp
        signed: bool
        channel: str
        def __init__(self, operator: _Optional[str] = ..., verdict: _Optional[_Union[Approval.Verdict, str]] = ..., reason: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., signed: bool = ..., channel: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    TOOL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_WORDS_FIELD_NUMBER: _ClassVar[int]
    CANONICAL_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    APPROVER_ROLE_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    PASSKEY_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    REASON_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    APPROVERS_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    CONSUMING_DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    FOLDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    PASSKEY_CHALLENGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: Approval.State
    fingerprint: str
    agent: str
    tool: str
    reason: str
    tier: str
    create_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    summary: str
    fingerprint_words: str
    canonical: bytes
    session: str
    operation: str
    requester: str
    approver_role: str
    quorum: int
    passkey_required: bool
    reason_required: bool
    votes: _containers.RepeatedCompositeFieldContainer[Approval.Vote]
    approvers: _containers.RepeatedScalarFieldContainer[str]
    url: str
    policy_digest: str
    epoch: int
    policies: _containers.RepeatedScalarFieldContainer[str]
    decision_id: str
    consuming_decision_id: str
    detail: str
    end_time: _timestamp_pb2.Timestamp
    folded_count: int
    passkey_challenge: bytes
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[Approval.State, str]] = ..., fingerprint: _Optional[str] = ..., agent: _Optional[str] = ..., tool: _Optional[str] = ..., reason: _Optional[str] = ..., tier: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., summary: _Optional[str] = ..., fingerprint_words: _Optional[str] = ..., canonical: _Optional[bytes] = ..., session: _Optional[str] = ..., operation: _Optional[str] = ..., requester: _Optional[str] = ..., approver_role: _Optional[str] = ..., quorum: _Optional[int] = ..., passkey_required: bool = ..., reason_required: bool = ..., votes: _Optional[_Iterable[_Union[Approval.Vote, _Mapping]]] = ..., approvers: _Optional[_Iterable[str]] = ..., url: _Optional[str] = ..., policy_digest: _Optional[str] = ..., epoch: _Optional[int] = ..., policies: _Optional[_Iterable[str]] = ..., decision_id: _Optional[str] = ..., consuming_decision_id: _Optional[str] = ..., detail: _Optional[str] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., folded_count: _Optional[int] = ..., passkey_challenge: _Optional[bytes] = ...) -> None: ...

class ListApprovalsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "pending_only", "mine_only", "agent")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PENDING_ONLY_FIELD_NUMBER: _ClassVar[int]
    MINE_ONLY_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    pending_only: bool
    mine_only: bool
    agent: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., pending_only: bool = ..., mine_only: bool = ..., agent: _Optional[str] = ...) -> None: ...

class ListApprovalsResponse(_message.Message):
    __slots__ = ("approvals", "next_page_token")
    APPROVALS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    approvals: _containers.RepeatedCompositeFieldContainer[Approval]
    next_page_token: str
    def __init__(self, approvals: _Optional[_Iterable[_Union[Approval, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetApprovalRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetApprovalResponse(_message.Message):
    __slots__ = ("approval",)
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    approval: Approval
    def __init__(self, approval: _Optional[_Union[Approval, _Mapping]] = ...) -> None: ...

class DecideApprovalRequest(_message.Message):
    __slots__ = ("request_id", "name", "verdict", "fingerprint", "reason", "passkey_assertion", "channel")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PASSKEY_ASSERTION_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    name: str
    verdict: Approval.Verdict
    fingerprint: str
    reason: str
    passkey_assertion: bytes
    channel: str
    def __init__(self, request_id: _Optional[str] = ..., name: _Optional[str] = ..., verdict: _Optional[_Union[Approval.Verdict, str]] = ..., fingerprint: _Optional[str] = ..., reason: _Optional[str] = ..., passkey_assertion: _Optional[bytes] = ..., channel: _Optional[str] = ...) -> None: ...

class DecideApprovalResponse(_message.Message):
    __slots__ = ("approval", "repeated_request")
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    REPEATED_REQUEST_FIELD_NUMBER: _ClassVar[int]
    approval: Approval
    repeated_request: bool
    def __init__(self, approval: _Optional[_Union[Approval, _Mapping]] = ..., repeated_request: bool = ...) -> None: ...

class WatchApprovalsRequest(_message.Message):
    __slots__ = ("mine_only",)
    MINE_ONLY_FIELD_NUMBER: _ClassVar[int]
    mine_only: bool
    def __init__(self, mine_only: bool = ...) -> None: ...

class WatchApprovalsResponse(_message.Message):
    __slots__ = ("approval", "initial")
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    INITIAL_FIELD_NUMBER: _ClassVar[int]
    approval: Approval
    initial: bool
    def __init__(self, approval: _Optional[_Union[Approval, _Mapping]] = ..., initial: bool = ...) -> None: ...
