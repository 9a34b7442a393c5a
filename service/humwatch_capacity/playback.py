"""One stream's way through the endless sound, a message at a time."""

from __future__ import annotations

from humwatch_capacity.played_sound import SAMPLE_BYTES, PlayedSound


class Playback:
    """The endless sound in messages from a moment of its own on, with the time at which each is whole.

    Attributes:
        rate_hz: sample rate, Hz.
        message_samples: samples of a message; messages are counted from sample 0.
        cursor: first sample that is not sent.
        epoch_s: time of sample 0, of the player's clock.
    """

    def __init__(self, sound: PlayedSound, offset: int, message_s: float) -> None:
        """Begin at sample ``offset`` of the sound, with messages of ``message_s`` seconds."""
        self.rate_hz = sound.rate_hz
        self.message_samples = max(1, round(message_s * sound.rate_hz))
        self.cursor = 0
        self.epoch_s = 0.0
        self._sound = sound
        self._offset = offset

    @property
    def message_s(self) -> float:
        """Length of a message, seconds."""
        return self.message_samples / self.rate_hz

    @property
    def due_s(self) -> float:
        """Time at which the message that begins at the cursor, or holds it, is whole."""
        return self.epoch_s + self._next_end / self.rate_hz

    @property
    def begins_second(self) -> bool:
        """True where the message before the cursor held the last sample of a second."""
        return self.cursor % self.rate_hz < self.message_samples

    def next_frame(self) -> bytes:
        """Return the rest of the message that holds the cursor, as a WebSocket frame; move the cursor behind it."""
        start, self.cursor = self.cursor, self._next_end
        return self._sound.frame(self._offset + start, self.cursor - start)

    def seconds_of(self, size: int) -> float:
        """Return the seconds of sound in so many bytes of messages."""
        return size / SAMPLE_BYTES / self.rate_hz

    @property
    def _next_end(self) -> int:
        return (self.cursor // self.message_samples + 1) * self.message_samples
