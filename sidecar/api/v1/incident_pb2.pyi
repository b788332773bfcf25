import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from sidecar.api.v1 import investigation_pb2 as _investigation_pb2
from sidecar.api.v1 import options_pb2 as _options_pb2
from sidecar.api.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Incident(_message.Message):
    __slots__ = ("name", "state", "title", "severity", "agent", "owner", "policy_digest", "policy_digests", "since", "until", "events", "truncated", "blast_radius", "directives", "prompts", "techniques", "verdict", "notes", "author", "create_time", "update_time", "end_time", "external_reference", "log_index", "sha256")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Incident.State]
        STATE_OPEN: _ClassVar[Incident.State]
        STATE_CLOSED: _ClassVar[Incident.State]
    STATE_UNSPECIFIED: Incident.State
    STATE_OPEN: Incident.State
    STATE_CLOSED: Incident.State
    class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        VERDICT_UNSPECIFIED: _ClassVar[Incident.Verdict]
        VERDICT_UNDETERMINED: _ClassVar[Incident.Verdict]
        VERDICT_THREAT: _ClassVar[Incident.Verdict]
        VERDICT_MISCONFIGURATION: _ClassVar[Incident.Verdict]
        VERDICT_FALSE_POSITIVE: _ClassVar[Incident.Verdict]
    VERDICT_UNSPECIFIED: Incident.Verdict
    VERDICT_UNDETERMINED: Incident.Verdict
    VERDICT_THREAT: Incident.Verdict
    VERDICT_MISCONFIGURATION: Incident.Verdict
    VERDICT_FALSE_POSITIVE: Incident.Verdict
    class Note(_message.Message):
        __slots__ = ("author", "create_time", "text")
        AUTHOR_FIELD_NUMBER: _ClassVar[int]
        CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
        TEXT_FIELD_NUMBER: _ClassVar[int]
        author: str
        create_time: _timestamp_pb2.Timestamp
        text: str
        def __init__(self, author: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., text: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    POLICY_DIGESTS_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    BLAST_RADIUS_FIELD_NUMBER: _ClassVar[int]
    DIRECTIVES_FIELD_NUMBER: _ClassVar[int]
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    TECHNIQUES_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    LOG_INDEX_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: Incident.State
    title: str
    severity: str
    agent: str
    owner: str
    policy_digest: str
    policy_digests: _containers.RepeatedScalarFieldContainer[str]
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    events: _containers.RepeatedCompositeFieldContainer[_investigation_pb2.TimelineEvent]
    truncated: bool
    blast_radius: _investigation_pb2.BlastRadius
    directives: _containers.RepeatedCompositeFieldContainer[_types_pb2.Directive]
    prompts: str
    techniques: _containers.RepeatedScalarFieldContainer[str]
    verdict: Incident.Verdict
    notes: _containers.RepeatedCompositeFieldContainer[Incident.Note]
    author: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    external_reference: str
    log_index: int
    sha256: str
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[Incident.State, str]] = ..., title: _Optional[str] = ..., severity: _Optional[str] = ..., agent: _Optional[str] = ..., owner: _Optional[str] = ..., policy_digest: _Optional[str] = ..., policy_digests: _Optional[_Iterable[str]] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., events: _Optional[_Iterable[_Union[_investigation_pb2.TimelineEvent, _Mapping]]] = ..., truncated: bool = ..., blast_radius: _Optional[_Union[_investigation_pb2.BlastRadius, _Mapping]] = ..., directives: _Optional[_Iterable[_Union[_types_pb2.Directive, _Mapping]]] = ..., prompts: _Optional[str] = ..., techniques: _Optional[_Iterable[str]] = ..., verdict: _Optional[_Union[Incident.Verdict, str]] = ..., notes: _Optional[_Iterable[_Union[Incident.Note, _Mapping]]] = ..., author: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., external_reference: _Optional[str] = ..., log_index: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class OpenIncidentRequest(_message.Message):
    __slots__ = ("request_id", "agent", "title", "severity", "since", "until", "techniques", "verdict", "note", "external_reference")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    TECHNIQUES_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    agent: str
    title: str
    severity: str
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    techniques: _containers.RepeatedScalarFieldContainer[str]
    verdict: Incident.Verdict
    note: str
    external_reference: str
    def __init__(self, request_id: _Optional[str] = ..., agent: _Optional[str] = ..., title: _Optional[str] = ..., severity: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., techniques: _Optional[_Iterable[str]] = ..., verdict: _Optional[_Union[Incident.Verdict, str]] = ..., note: _Optional[str] = ..., external_reference: _Optional[str] = ...) -> None: ...

class OpenIncidentResponse(_message.Message):
    __slots__ = ("incident", "repeated_request")
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    REPEATED_REQUEST_FIELD_NUMBER: _ClassVar[int]
    incident: Incident
    repeated_request: bool
    def __init__(self, incident: _Optional[_Union[Incident, _Mapping]] = ..., repeated_request: bool = ...) -> None: ...

class GetIncidentRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetIncidentResponse(_message.Message):
    __slots__ = ("incident",)
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    incident: Incident
    def __init__(self, incident: _Optional[_Union[Incident, _Mapping]] = ...) -> None: ...

class ListIncidentsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "agent", "open_only")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    OPEN_ONLY_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    agent: str
    open_only: bool
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., agent: _Optional[str] = ..., open_only: bool = ...) -> None: ...

class ListIncidentsResponse(_message.Message):
    __slots__ = ("incidents", "next_page_token")
    INCIDENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    incidents: _containers.RepeatedCompositeFieldContainer[Incident]
    next_page_token: str
    def __init__(self, incidents: _Optional[_Iterable[_Union[Incident, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateIncidentRequest(_message.Message):
    __slots__ = ("request_id", "name", "verdict", "techniques", "note", "close")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    TECHNIQUES_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    name: str
    verdict: Incident.Verdict
    techniques: _containers.RepeatedScalarFieldContainer[str]
    note: str
    close: bool
    def __init__(self, request_id: _Optional[str] = ..., name: _Optional[str] = ..., verdict: _Optional[_Union[Incident.Verdict, str]] = ..., techniques: _Optional[_Iterable[str]] = ..., note: _Optional[str] = ..., close: bool = ...) -> None: ...

class UpdateIncidentResponse(_message.Message):
    __slots__ = ("incident",)
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    incident: Incident
    def __init__(self, incident: _Optional[_Union[Incident, _Mapping]] = ...) -> None: ...
