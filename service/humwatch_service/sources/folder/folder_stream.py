"""A stream that recordings of a folder are joined to: where each begins in it, and how far it was scored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from humwatch_service.protocol.messages import Hello
from humwatch_service.sources.folder.waiting_files import WaitingFile
from humwatch_service.sources.sequence import RecordingSequence
from humwatch_service.storage.folder_records import FolderPart, KeptFolder
from humwatch_service.storage.records import StreamPosition

WARM_UP_S: Final = 30.0
"""Sound before what was scored that may be sent again after a restart: more than a clip."""
TAIL_S: Final = 2.0
"""Sound at the end that is too little for a score until more comes."""


@dataclass(frozen=True)
class Opened:
    """A recording that is next, and its samples."""

    file: WaitingFile
    recordings: RecordingSequence


@dataclass
class FolderStream:
    """A stream: parts in order, whose sound may be needed again.

    Attributes:
        stream_id: name of the count of samples.
        parts: recordings in order.
        scored_until: sample before which all sound was scored.
        follows_position: True if the database knows that from the machine as well, to the sample.
        sent: index one past the last sample that was sent of a part, by its number.
    """

    stream_id: str
    parts: list[FolderPart] = field(default_factory=list)
    scored_until: int = 0
    follows_position: bool = False
    sent: dict[int, int] = field(default_factory=dict)

    @property
    def start_sample(self) -> int:
        """First sample that can be sent, and should be if the service does not know more."""
        first = self.parts[0].start_sample if self.parts else self.scored_until
        return first if self.follows_position else max(first, self.scored_until)

    def ends(self) -> list[tuple[FolderPart, int | None]]:
        """Return each part with the index one past its last sample; None where that is not known."""
        following = [part.start_sample for part in self.parts[1:]]
        last = self.sent.get(self.parts[-1].number) if self.parts else None
        return list(zip(self.parts, [*following, last], strict=False))

    def is_scored(self, part: FolderPart) -> bool:
        """Return True if nothing of a part is missing in what was scored, but for too little to be."""
        return self.scored_until + TAIL_S * part.rate_hz >= part.start_sample + part.samples

    def settled(self, *, tail: bool) -> list[FolderPart]:
        """Return the parts whose sound is not needed again, also not to warm up; ``tail``: all that were scored."""
        return [
            part
            for part, end in self.ends()
            if end is not None and (tail or end <= self.scored_until - WARM_UP_S * part.rate_hz)
        ]

    def let_go(self, parts: Iterable[FolderPart]) -> None:
        """Forget parts."""
        gone = {part.number for part in parts}
        self.parts = [part for part in self.parts if part.number not in gone]
        self.sent = {number: at for number, at in self.sent.items() if number not in gone}


def streams_of(kept: KeptFolder, scored: StreamPosition | None) -> tuple[list[FolderStream], list[FolderPart]]:
    """Return the streams that may go on, in order, and the parts of those that were scored to their end.

    Args:
        kept: what the database knows of the folder.
        scored: how far the machine's last stream was scored, as the database has it.
    """
    streams = [
        FolderStream(stream_id, list(parts)) for stream_id, parts in groupby(kept.parts, lambda part: part.stream_id)
    ]
    if kept.stream_id is not None and all(stream.stream_id != kept.stream_id for stream in streams):
        streams.insert(0, FolderStream(kept.stream_id))  # all its parts are done with, and deleted
    for stream in streams:
        if stream.stream_id == kept.stream_id:
            stream.scored_until = kept.scored_until
        if scored is not None and stream.stream_id == scored.stream_id:
            stream.follows_position = True
            stream.scored_until = max(stream.scored_until, scored.next_sample)
    reached = [number for number, stream in enumerate(streams) if stream.follows_position or stream.scored_until]
    first = reached[-1] if reached else 0
    going_on = [stream for number, stream in enumerate(streams) if number >= first]
    if len(going_on) > 1 and not going_on[0].parts:
        del going_on[0]
    return going_on, [part for stream in streams[:first] for part in stream.parts]


def hello_for(stream: FolderStream, form: RecordingSequence, channel: int | None) -> Hello:
    """Return the first message of a session that feeds a stream.

    Args:
        stream: the stream.
        form: a recording of its form.
        channel: channel to listen to, from 0; None: the model's.
    """
    return Hello(
        rate_hz=form.rate_hz,
        format=form.format,
        channels=form.channels,
        channel=channel,
        stream_id=stream.stream_id,
        start_sample=stream.start_sample,
        realtime=False,
    )


def is_same_form(one: RecordingSequence, other: RecordingSequence) -> bool:
    """Return True if two recordings can be parts of one stream."""
    return (one.rate_hz, one.channels, one.format) == (other.rate_hz, other.channels, other.format)
