"""The tables. ``PRAGMA user_version`` of the file says which schema it has."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    and_,
)

from humwatch.alarm.events import MACHINE_STATES

SCHEMA_VERSION: Final = 1

METADATA: Final = MetaData()

MACHINES: Final = Table(
    "machines",
    METADATA,
    Column("key", Integer, primary_key=True),  # short, for the rows of history
    Column("machine_id", Text, nullable=False, unique=True),
    Column("snapshot", Text, nullable=False, server_default="{}"),
    Column("running", Boolean),
    Column("stream_id", Text),
    Column("rate_hz", Integer),
    Column("next_sample", Integer),
)

ALARMS: Final = Table(
    "alarms",
    METADATA,
    Column("id", Integer, primary_key=True),  # counts up: the order of lists
    Column("machine_id", ForeignKey("machines.machine_id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("raised_s", Float, nullable=False),
    Column("cleared_s", Float),
    Column("announced_s", Float),
    Column("acknowledged_s", Float),
    Column("acknowledged_by", Text),
    Column("acknowledged_why", Text),
    Column("score", Float),
    Column("peak_score", Float),
    Column("context", Text),  # AlarmContext but for its trace, JSON
    Column("trace", Text),  # [[at_s, score], ...], JSON
    Column("evidence", Text, nullable=False, server_default="none"),
    Column("verdict", Text),
    Column("cause", Text),
    Column("action", Text),
    Column("feedback_by", Text),
    Column("feedback_s", Float),
    UniqueConstraint("machine_id", "number"),
)

EVENTS: Final = Table(
    "events",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("identity", LargeBinary, nullable=False, unique=True),  # digest of the whole event: written twice, it is one
    Column("machine_id", ForeignKey("machines.machine_id"), nullable=False),
    Column("at_s", Float, nullable=False),
    Column("kind", Text, nullable=False),
    Column("number", Integer),
    Column("from_state", Text),
    Column("to_state", Text),
    Column("score", Float),
    Column("reasons", Text, nullable=False, server_default="[]"),
    Column("who", Text),
    Column("why", Text),
    Column("until_s", Float),
    Column("announced", Boolean, nullable=False),
    Column("details", Text, nullable=False, server_default="{}"),
    Index("events_of_alarm", "machine_id", "number", "id"),
    Index("events_of_machine", "machine_id", "id"),
)

HEARD: Final = Table(
    "heard",  # when the sound that raised an alarm was heard, which may be days after it was recorded
    METADATA,
    Column("machine_id", ForeignKey("machines.machine_id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("heard_s", Float, nullable=False),
    sqlite_with_rowid=False,
)

OUTBOX: Final = Table(
    "outbox",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("webhook", Text, nullable=False),
    Column("machine_id", Text, nullable=False),
    Column("event_id", ForeignKey("events.id"), nullable=False),
    Column("due_s", Float, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("delivered_s", Float),
    Column("given_up", Boolean, nullable=False, server_default="0"),
    Column("last_error", Text),
    UniqueConstraint("event_id", "webhook"),
)
PENDING: Final = and_(OUTBOX.c.delivered_s.is_(None), OUTBOX.c.given_up.is_(False))
Index("outbox_pending", OUTBOX.c.webhook, OUTBOX.c.id, sqlite_where=PENDING)

MINUTES: Final = Table(
    "minutes",
    METADATA,
    Column("machine_key", ForeignKey("machines.key"), primary_key=True),
    Column("minute", Integer, primary_key=True),  # since 1970
    Column("scores", Integer, nullable=False),
    Column("score_sum", Float, nullable=False),
    Column("score_min", Float),
    Column("score_max", Float),
    Column("levels", Integer, nullable=False),
    Column("power_sum", Float, nullable=False),  # of the levels' powers relative to full scale
    *(Column(f"{state}_s", Integer, nullable=False) for state in MACHINE_STATES),
    sqlite_with_rowid=False,
)

SECONDS: Final = Table(
    "seconds",  # apart from the minutes, so that the room of what is dropped is used again
    METADATA,
    Column("machine_key", ForeignKey("machines.key"), primary_key=True),
    Column("minute", Integer, primary_key=True),
    Column("packed", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

NORMAL_HOURS: Final = Table(
    "normal_hours",  # hours of scored normal sound: whether a machine drifts
    METADATA,
    Column("machine_key", ForeignKey("machines.key"), primary_key=True),
    Column("normal", Text, primary_key=True),  # digest of the calibration that they are measured by
    Column("hour", Integer, primary_key=True),  # since 1970
    Column("seconds", Float, nullable=False),
    Column("alarm_s", Float, nullable=False),
    Column("score", Float, nullable=False),
    Column("departures_db", LargeBinary, nullable=False),  # float32 (bands,)
    sqlite_with_rowid=False,
)

WATCHES: Final = Table(
    "watches",  # how long each version was in use under each rule
    METADATA,
    Column("machine_key", ForeignKey("machines.key"), primary_key=True),
    Column("version_sha256", Text, primary_key=True),
    Column("rule", Text, primary_key=True),  # JSON
    Column("since_s", Float, nullable=False),
    Column("last_s", Float, nullable=False),
    Column("watched_s", Float, nullable=False),
    sqlite_with_rowid=False,
)

SHADOWS: Final = Table(
    "shadows",
    METADATA,
    Column("machine_key", ForeignKey("machines.key"), primary_key=True),
    Column("state", Text, nullable=False),  # of the candidate and its alarm machine, JSON
    Column("comparison", Text, nullable=False),  # alarms of both versions, JSON
)

SHADOW_SECONDS: Final = Table(
    "shadow_seconds",  # as `seconds`, of versions that were not in use
    METADATA,
    Column("machine_key", ForeignKey("machines.key"), primary_key=True),
    Column("version", Text, primary_key=True),
    Column("minute", Integer, primary_key=True),
    Column("packed", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

FOLDERS: Final = Table(
    "folders",  # that sources watch
    METADATA,
    Column("key", Integer, primary_key=True),
    Column("machine_id", Text, nullable=False),
    Column("folder", LargeBinary, nullable=False),  # as the file system has it: names need not be text
    Column("device", Text),  # that it lay on when it was looked at for the first time; null before
    Column("stream_id", Text),  # sound before `scored_until` of this stream is done with
    Column("scored_until", Integer, nullable=False, server_default="0"),
    UniqueConstraint("machine_id", "folder"),
)

FOLDER_FILES: Final = Table(
    "folder_files",  # recordings that are done with, so that each is heard once
    METADATA,
    Column("folder_key", ForeignKey("folders.key"), primary_key=True),
    Column("path", LargeBinary, primary_key=True),  # inside the folder
    Column("size", Integer, primary_key=True),  # two cards may have the same names
    Column("modified_ns", Integer, primary_key=True),
    Column("inode", Integer, nullable=False),
    Column("changed_ns", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("recorded_s", Float),  # null where nobody looked
    Column("noted_s", Float, nullable=False),
    Column("fingerprint", LargeBinary),  # of its content; null where it was not read
    Index("folder_files_by_inode", "folder_key", "inode"),
    sqlite_with_rowid=False,
)

FOLDER_PARTS: Final = Table(
    "folder_parts",  # recordings whose sound may be needed again after a restart, and where each begins in its stream
    METADATA,
    Column("folder_key", ForeignKey("folders.key"), primary_key=True),
    Column("number", Integer, primary_key=True),  # counts up: the order in which they are heard
    Column("path", LargeBinary, nullable=False),
    Column("size", Integer, nullable=False),
    Column("modified_ns", Integer, nullable=False),
    Column("inode", Integer, nullable=False),
    Column("stream_id", Text, nullable=False),
    Column("start_sample", Integer, nullable=False),
    Column("samples", Integer, nullable=False),  # as its header says
    Column("rate_hz", Integer, nullable=False),
    Column("recorded_s", Float, nullable=False),
    sqlite_with_rowid=False,
)
