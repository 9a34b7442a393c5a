"""Recordings as programs send them: taken where their bytes leave no doubt, refused by name where they do."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

URL = "/score?machine_id=pump-2"


@pytest.fixture(scope="module")
def recording(workshop: Any) -> bytes:
    return bytes(workshop.encoded(workshop.faulty()))


@pytest.fixture(scope="module")
def expected(client: httpx.Client, recording: bytes) -> float:
    answer = client.post(URL, content=recording, headers={"Content-Type": "audio/wav"})
    assert answer.status_code == 200, answer.text
    return float(answer.json()["score"])


def part(data: bytes, *heads: str) -> bytes:
    return b"--b\r\n" + "".join(f"{head}\r\n" for head in heads).encode() + b"\r\n" + data + b"\r\n"


def form(client: httpx.Client, *parts: bytes, content_type: str = "multipart/form-data; boundary=b") -> httpx.Response:
    return client.post(URL, content=b"".join(parts) + b"--b--\r\n", headers={"Content-Type": content_type})


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "audio/wav",
        "audio/x-wav",
        "audio/wave",
        "audio/vnd.wave; codec=1",
        "application/wav",
        "application/octet-stream",
        "binary/octet-stream",
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=UTF-8",
        "text/plain;charset=UTF-8",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=b",
        "video/mp4",
        "nonsense",
    ],
)
def test_a_body_that_is_a_recording_is_scored_whatever_it_is_called(
    client: httpx.Client, recording: bytes, expected: float, method: str, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    for url in (URL, "/v1/machines/pump-2/score"):
        answer = client.request(method, url, content=recording, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["score"] == expected


def test_a_flac_file_needs_no_name_either(client: httpx.Client, workshop: Any) -> None:
    flac = workshop.encoded(workshop.normal(), form="FLAC")
    for content_type in ("application/x-www-form-urlencoded", "text/plain", "audio/wav"):
        assert client.put(URL, content=flac, headers={"Content-Type": content_type}).status_code == 200


@pytest.mark.parametrize(
    "heads",
    [
        ['Content-Disposition: form-data; name="recording"; filename="a.wav"'],
        ['Content-Disposition: form-data; name="file"; filename=""', "Content-Type: application/octet-stream"],
        ['Content-Disposition: form-data; name="audio"'],
        ['Content-Disposition: form-data; name="audio"', "Content-Type: audio/wav"],
        ["Content-Disposition: form-data; name=file; filename=a.wav"],
        ["content-disposition: form-data; NAME=file; FileName=a.wav"],
        ["Content-Disposition: form-data; name=\"a\"; filename*=UTF-8''l%C3%BCfter.wav"],
        ['Content-Disposition: form-data; filename="a.wav"'],
        ['Content-Disposition: attachment; name="file"; filename="C:\\sounds\\a.wav"'],
        ["Content-Type: audio/wav"],
    ],
)
def test_the_only_file_of_a_form_is_the_recording(
    client: httpx.Client, recording: bytes, expected: float, heads: list[str]
) -> None:
    answer = form(client, part(recording, *heads))
    assert answer.status_code == 200, answer.text
    assert answer.json()["score"] == expected


@pytest.mark.parametrize(
    "content_type",
    [
        'multipart/form-data; boundary="b"',
        "multipart/form-data; charset=utf-8; boundary=b",
        "multipart/form-data; charset=nonsense; boundary=b",
        "Multipart/Form-Data;BOUNDARY=b",
        "multipart/form-data;  boundary=b ; x=y",
        "multipart/form-data",
    ],
)
def test_the_head_of_a_form_may_be_odd(
    client: httpx.Client, recording: bytes, expected: float, content_type: str
) -> None:
    answer = form(
        client, part(recording, 'Content-Disposition: form-data; name="x"; filename="a"'), content_type=content_type
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["score"] == expected


def test_fields_and_empty_inputs_of_a_page_do_not_hide_the_recording(
    client: httpx.Client, recording: bytes, expected: float
) -> None:
    answer = form(
        client,
        part(b"pump-2", 'Content-Disposition: form-data; name="machine_id"', "Content-Type: text/plain"),
        part(
            b"", 'Content-Disposition: form-data; name="other"; filename=""', "Content-Type: application/octet-stream"
        ),
        part(recording, 'Content-Disposition: form-data; name="sound"; filename="a.wav"'),
        part(b"0", 'Content-Disposition: form-data; name="channel"'),
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["score"] == expected


@pytest.mark.parametrize("query", ["", "?machine_id=pump-2", "?machine_id="])
def test_text_inputs_that_were_left_empty_say_nothing(
    client: httpx.Client, recording: bytes, expected: float, query: str
) -> None:
    machine = b"pump-2" if query != "?machine_id=pump-2" else b" "
    body = (
        part(recording, 'Content-Disposition: form-data; name="audio"; filename="a.wav"')
        + part(machine, 'Content-Disposition: form-data; name="machine_id"')
        + part(b"", 'Content-Disposition: form-data; name="channel"')
        + b"--b--\r\n"
    )
    answer = client.post(f"/score{query}", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["score"] == expected


def test_a_machine_that_was_left_empty_is_asked_for(client: httpx.Client, recording: bytes) -> None:
    answer = client.put("/score?machine_id=", content=recording)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    assert "say which machine" in answer.json()["detail"]


def test_what_leaves_a_doubt_is_refused_by_name(client: httpx.Client, recording: bytes) -> None:
    named = 'Content-Disposition: form-data; name="%s"; filename="%s"'
    text = 'Content-Disposition: form-data; name="%s"'
    cases = [
        (
            (part(recording, named % ("a", "a.wav")), part(recording, named % ("b", "b.wav"))),
            422,
            "2 files, in 'a', 'b'",
        ),
        ((part(recording, named % ("a", "a.wav")), part(b"notes", named % ("b", "b.txt"))), 422, "2 files"),
        ((part(recording, text % "a"), part(recording, text % "b")), 422, "2 files"),
        ((), 422, "no recording"),
        ((part(b"pump-2", text % "machine_id"),), 422, "no recording"),
        ((part(b"fan.wav", text % "file"),), 422, "holds text"),
        ((part(recording, named % ("machine_id", "a.wav")),), 422, "`machine_id` is a file"),
        ((part(recording, named % ("a", "a.wav")), part(b"red", text % "colour")), 422, "unknown field 'colour'"),
        ((part(recording, named % ("a", "a.wav")), part(b"", text % "colour")), 422, "unknown field 'colour'"),
        ((part(b"no sound at all", named % ("a", "a.wav")),), 415, ""),
    ]
    for parts, status, words in cases:
        answer = form(client, *parts)
        assert answer.status_code == status, answer.text
        assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        ("application/x-www-form-urlencoded", b"machine_id=pump-2&file=a.wav", "-F file=@name.wav"),
        ("text/plain", b"hello", "does not begin as a recording"),
        ("application/json", b'{"file": "UklGRiQAAABXQVZF"}', "does not begin as a recording"),
        ("image/png", b"\x89PNG\r\n\x1a\n", "does not begin as a recording"),
        ("audio/L16; rate=16000", b"\1\0" * 500, "/stream?realtime=false"),
        ("audio/x-raw;format=S32LE;rate=48000", b"\1\0\0\0" * 500, "/stream?realtime=false"),
        ("multipart/mixed; boundary=b", b"--b\r\n\r\nx\r\n--b--", "does not begin as a recording"),
    ],
)
def test_bodies_that_are_no_recording_are_refused_with_what_to_send(
    client: httpx.Client, content_type: str, body: bytes, words: str
) -> None:
    answer = client.post(URL, content=body, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["code"]) == (415, "media_type_unsupported")
    assert words in answer.json()["detail"]


def test_a_recording_that_curl_has_damaged_is_named(client: httpx.Client, recording: bytes) -> None:
    damaged = recording.translate(None, b"\0\r\n")  # as `curl -d @name.wav` does
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = client.post(URL, content=damaged, headers=headers)
    assert answer.status_code == 415
    assert "--data-binary" in answer.json()["detail"]


@pytest.mark.parametrize("cut", [1, 100, 5_000])
def test_a_form_that_ends_early_is_refused(client: httpx.Client, recording: bytes, cut: int) -> None:
    whole = part(recording, 'Content-Disposition: form-data; name="file"; filename="a.wav"')[:-2] + b"\r\n--b--"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert client.post(URL, content=whole, headers=headers).status_code == 200
    answer = client.post(URL, content=whole[:-cut], headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "request_malformed")
    assert "ends before its last boundary" in answer.json()["detail"]


COMMANDS = {
    "curl -T": ["curl", "-sS", "-T", "FILE", "URL"],
    "curl -T -": ["curl", "-sS", "-T", "-", "URL"],
    "curl --data-binary": ["curl", "-sS", "--data-binary", "@FILE", "URL"],
    "curl -F": ["curl", "-sS", "-F", "recording=@FILE", "URL"],
    "curl -F <": ["curl", "-sS", "-F", "recording=<FILE", "URL"],
    "curl, chunked": ["curl", "-sS", "-H", "Transfer-Encoding: chunked", "--data-binary", "@FILE", "URL"],
    "curl, HTTP/1.0": ["curl", "-sS", "-0", "--data-binary", "@FILE", "URL"],
    "curl, 100-continue": ["curl", "-sS", "-H", "Expect: 100-continue", "-T", "FILE", "URL"],
    "wget": ["wget", "-q", "-O", "-", "--post-file=FILE", "URL"],
    "wget PUT": ["wget", "-q", "-O", "-", "--method=PUT", "--body-file=FILE", "URL"],
}


@pytest.mark.process
@pytest.mark.parametrize("name", COMMANDS)
def test_programs_send_it_as_they_do(server: Any, recording: bytes, expected: float, tmp_path: Path, name: str) -> None:
    command = COMMANDS[name]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    path = tmp_path / "a.wav"
    path.write_bytes(recording)
    url = f"http://127.0.0.1:{server.port}{URL}"
    words = [word.replace("FILE", str(path)).replace("URL", url) for word in command]
    with path.open("rb") as sound:
        done = subprocess.run(words, stdin=sound, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert f'"score":{expected!r}' in done.stdout
