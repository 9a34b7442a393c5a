"""Minutes of a commissioning as they are on the disk: their evidence and their sound. All of it blocks."""

from __future__ import annotations

from humwatch.audio.integers import BITS, to_int16
from humwatch.calibration.calibration_buffer import CollectedMinute
from humwatch.calibration.minute_file import pack_minute, shared, unpack_minute
from humwatch.errors import CalibrationError
from humwatch_service.calibration.record import CommissioningRecord, LostMinute, OddMinuteCard
from humwatch_service.storage.commissionings import CommissioningFolder
from humwatch_service.storage.sounds.flac import Samples


def read_minutes(
    folder: CommissioningFolder, record: CommissioningRecord
) -> tuple[list[CollectedMinute], list[LostMinute]]:
    """Return the minutes that can be read, and drop those that cannot.

    Raises:
        StateUnusable: the disk cannot be read.
    """
    lost: list[LostMinute] = []

    def read() -> list[CollectedMinute]:
        found = []
        for number in folder.minutes(record.machine_id):
            try:
                minute = unpack_minute(folder.evidence(record.machine_id, number), source=record.source)
                if minute.number != number:
                    raise CalibrationError(f"it is of minute {minute.number}")
                found.append(minute)
            except CalibrationError as error:
                lost.append(LostMinute(number=number, reason=f"its file is damaged: {error}"))
        return found

    minutes = shared(read())
    for one in lost:
        folder.drop_minute(record.machine_id, one.number)
    return minutes, lost


def write_minute(folder: CommissioningFolder, record: CommissioningRecord, minute: CollectedMinute) -> None:
    """Keep a minute, durably; the sound of odd ones stays when there is too much. Raises :class:`StateUnusable`."""
    folder.write_minute(
        record.machine_id,
        minute.number,
        pack_minute(minute, source=record.source),
        _sound_of(minute),
        spare=[folder.sound_path_of(record.machine_id, card.number) for card in record.odd],
    )


def alarm_card(record: CommissioningRecord, folder: CommissioningFolder, minute: CollectedMinute) -> OddMinuteCard:
    """Return the card of a minute that is held back because an alarm was in force."""
    return OddMinuteCard(
        number=minute.number,
        at_s=minute.at_s,
        why="alarm",
        score=None,
        detector=None,
        bands=[],
        sound=folder.has_sound(record.machine_id, minute.number),
    )


def _sound_of(minute: CollectedMinute) -> tuple[Samples, int] | None:
    """Return the samples of a minute, and their rate; as integers where they came as such."""
    if minute.samples is None or not len(minute.samples):
        return None
    if all(clip.sample_bits <= BITS for clip in minute.clips):
        return to_int16(minute.samples), minute.rate_hz
    return minute.samples, minute.rate_hz
