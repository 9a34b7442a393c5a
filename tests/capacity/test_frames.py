"""Frames of the player's own, against the library that follows RFC 6455."""

from __future__ import annotations

import numpy as np
import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from humwatch_capacity.frames import ServiceFrame, ServiceFrames
from humwatch_capacity.played_sound import PlayedSound

SIZES = (0, 1, 125, 126, 127, 4_000, 65_535, 65_536, 100_001)


@pytest.mark.parametrize("samples", [1, 62, 63, 4_000, 32_767, 32_768, 70_000])
@pytest.mark.parametrize("start", [0, 1, 39_990])
def test_a_service_unmasks_the_sound(samples: int, start: int) -> None:
    rng = np.random.default_rng(3)
    sound = PlayedSound(rng.uniform(-0.9, 0.9, 40_000).astype(np.float32), 4_000)
    server = ServerProtocol(state=State.OPEN, max_size=None)
    server.receive_data(sound.frame(start, samples))
    [frame] = server.events_received()
    assert isinstance(frame, Frame)
    assert (frame.opcode, bytes(frame.data)) == (Opcode.BINARY, sound.piece(start, samples))


@pytest.mark.parametrize("piece", [1, 7, 1_000, 1_000_000])
def test_messages_are_whole_however_they_come(piece: int) -> None:
    sent = [Frame(Opcode.TEXT, b"x" * size) for size in SIZES]
    data = b"".join(frame.serialize(mask=False) for frame in sent)
    frames = ServiceFrames(1 << 20)
    found = [frame for at in range(0, len(data), piece) for frame in frames.push(data[at : at + piece])]
    assert found == [ServiceFrame(Opcode.TEXT, b"x" * size) for size in SIZES]


def test_a_message_in_pieces_with_a_ping_between_them_is_one() -> None:
    pieces = [
        Frame(Opcode.TEXT, b"ab", fin=False),
        Frame(Opcode.PING, b"p"),
        Frame(Opcode.CONT, b"cd", fin=False),
        Frame(Opcode.CONT, b"ef"),
    ]
    frames = ServiceFrames(1 << 20)
    found = frames.push(b"".join(piece.serialize(mask=False) for piece in pieces))
    assert found == [ServiceFrame(Opcode.PING, b"p"), ServiceFrame(Opcode.TEXT, b"abcdef")]
    assert frames.push(Frame(Opcode.CLOSE, b"").serialize(mask=False)) == [ServiceFrame(Opcode.CLOSE, b"")]


@pytest.mark.parametrize("pieces", [[b"x" * 101], [b"x" * 60, b"x" * 60]])
def test_what_is_too_large_is_refused(pieces: list[bytes]) -> None:
    last = len(pieces) - 1
    data = b"".join(
        Frame(Opcode.CONT if n else Opcode.TEXT, piece, fin=n == last).serialize(mask=False)
        for n, piece in enumerate(pieces)
    )
    with pytest.raises(ValueError, match="message"):
        ServiceFrames(100).push(data)
