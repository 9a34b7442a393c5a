"""What is sent again after a restart, and what need not be."""

from __future__ import annotations

from humwatch_service.sources.folder.folder_stream import FolderStream, streams_of
from humwatch_service.storage.folder_records import FileIdentity, FolderPart, KeptFolder
from humwatch_service.storage.records import StreamPosition

RATE_HZ = 1_000


def part(number: int, start: int, samples: int, stream_id: str = "b") -> FolderPart:
    identity = FileIdentity(samples * 2, number, number)
    return FolderPart(number, f"{number}.wav", identity, stream_id, start, samples, RATE_HZ, 0.0)


PARTS = (part(1, 0, 40_000), part(2, 40_000, 40_000), part(3, 80_000, 10_000))


def kept(*parts: FolderPart, stream_id: str | None = None, scored_until: int = 0) -> KeptFolder:
    return KeptFolder(1, "device", stream_id, scored_until, parts)


def position(next_sample: int, stream_id: str = "b") -> StreamPosition:
    return StreamPosition(stream_id=stream_id, rate_hz=RATE_HZ, next_sample=next_sample)


def test_a_stream_goes_on_where_the_machine_was() -> None:
    (stream,), over = streams_of(kept(*PARTS, stream_id="b", scored_until=41_000), position(83_000))
    assert (stream.scored_until, stream.start_sample, over) == (83_000, 0, [])
    assert [one.number for one in stream.settled(tail=False)] == [1]  # of the second, the end warms up
    assert [stream.is_scored(one) for one in PARTS] == [True, True, False]


def test_a_stream_that_another_one_took_the_machine_from_goes_on_without_warming_up() -> None:
    (stream,), _ = streams_of(kept(*PARTS, stream_id="b", scored_until=81_000), position(7, "a client's"))
    assert stream.start_sample == 81_000


def test_streams_before_the_one_that_was_scored_last_are_over() -> None:
    first = (part(1, 0, 40_000, "a"), part(2, 40_000, 5_000, "a"))
    second = (part(3, 0, 40_000, "b"),)
    streams, over = streams_of(kept(*first, *second, stream_id="a", scored_until=44_500), position(2_000))
    assert [stream.stream_id for stream in streams] == ["b"]
    assert over == list(first)
    streams, over = streams_of(kept(*first, *second, stream_id="a", scored_until=44_500), position(44_900, "a"))
    assert [stream.stream_id for stream in streams] == ["a", "b"]
    assert over == []


def test_a_stream_that_was_never_scored_is_sent_from_its_start() -> None:
    (stream,), _ = streams_of(kept(*PARTS), None)
    assert (stream.start_sample, stream.scored_until) == (0, 0)


def test_the_count_of_a_stream_goes_on_when_all_its_recordings_are_deleted() -> None:
    (stream,), over = streams_of(kept(stream_id="b", scored_until=89_000), position(89_500))
    assert (stream.stream_id, stream.start_sample, stream.parts, over) == ("b", 89_500, [], [])
    assert streams_of(kept(), None) == ([], [])


def test_the_end_of_the_last_recording_is_known_once_it_was_sent() -> None:
    stream = FolderStream("b", list(PARTS), scored_until=89_000)
    assert stream.ends()[-1] == (PARTS[-1], None)
    assert [one.number for one in stream.settled(tail=True)] == [1, 2]
    stream.sent[3] = 90_000
    assert [one.number for one in stream.settled(tail=True)] == [1, 2, 3]
    stream.let_go(PARTS[:2])
    assert stream.parts == [PARTS[2]]
