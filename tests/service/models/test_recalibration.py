from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from humwatch.bundle.bundle import Bundle, read_bundle, write_bundle
from humwatch.bundle.repository import ModelRepository
from humwatch.errors import AudioFormatUnsupported, AudioTruncated, CalibrationError
from humwatch.scoring.spec import ScoreKind
from humwatch_service.errors import FileUnreadable
from humwatch_service.models.normal_recordings import normal_recordings
from humwatch_service.models.recalibration import RecalibrationRequest, recalibrate
from humwatch_service.models.registry import LoadedModel, load_model, verify


@pytest.fixture(scope="module")
def pump(shared_models: Path) -> LoadedModel:
    return load_model(ModelRepository(shared_models), "pump-2")


def test_the_same_recordings_give_the_same_thresholds(pump: LoadedModel, workshop: Any) -> None:
    heard: list[Path] = []
    manifest, _ = recalibrate(
        pump.bundle,
        pump.predictor,
        workshop.recordings,
        RecalibrationRequest("pump-2", "2", score="spectrum_profile"),
        on_recording=heard.append,
    )
    assert manifest.clip == pump.manifest.clip
    assert manifest.step == pump.manifest.step
    assert heard == workshop.recordings


def test_a_new_bundle_passes_every_check(pump: LoadedModel, workshop: Any, tmp_path: Path) -> None:
    request = RecalibrationRequest("new-machine", "1", score="nll")
    manifest, arrays = recalibrate(pump.bundle, pump.predictor, workshop.recordings, request)
    write_bundle(tmp_path / "1", manifest, pump.bundle.graph, arrays)
    bundle = read_bundle(tmp_path / "1")
    verify(bundle, pump.predictor)
    assert (bundle.manifest.machine_id, bundle.manifest.scoring.kind) == ("new-machine", "nll")
    assert bundle.manifest.licence == pump.manifest.licence
    assert "pump-2@1" in bundle.manifest.created_by


def test_the_score_is_the_consensus_however_few_the_recordings(pump: LoadedModel, workshop: Any) -> None:
    for recordings in (workshop.recordings[:4], workshop.recordings):
        manifest, _ = recalibrate(pump.bundle, pump.predictor, recordings, RecalibrationRequest("pump-2", "2"))
        assert manifest.scoring.kind == "consensus"
        assert manifest.clip.alarm.method == "student_t"
        assert manifest.clip.detectors is not None


def test_another_machine_of_the_type_borrows_the_spread_of_the_model_s_own(pump: LoadedModel, workshop: Any) -> None:
    def borrowed(machine_id: str, score: ScoreKind) -> int:
        request = RecalibrationRequest(machine_id, "2", score=score)
        manifest, _ = recalibrate(pump.bundle, pump.predictor, workshop.recordings, request)
        return manifest.calibration.prior_recordings

    known = pump.bundle.calibration.recordings
    assert borrowed("pump-3", "spectrum_profile") == known
    assert borrowed("pump-3", "residual_profile") == 0  # of another score
    assert borrowed("pump-3", "mse") == 0
    assert borrowed("pump-2", "spectrum_profile") == 0  # itself


def test_a_consensus_borrows_from_every_machine_of_the_type(pump: LoadedModel, workshop: Any) -> None:
    manifest, _ = recalibrate(pump.bundle, pump.predictor, workshop.recordings, RecalibrationRequest("pump-3", "1"))
    known = pump.bundle.calibration.recordings
    assert manifest.calibration.prior_recordings == known  # a spectrum that the model's own machine lends

    def relative(machine_id: str, machine_type: str) -> Bundle:
        named = {"machine_id": machine_id, "machine_type": machine_type}
        return replace(pump.bundle, manifest=pump.manifest.model_copy(update=named))

    others = [relative("pump-8", pump.manifest.machine_type), relative("fan-8", "another type"), pump.bundle]
    manifest, _ = recalibrate(
        pump.bundle, pump.predictor, workshop.recordings, RecalibrationRequest("pump-3", "1"), relatives=others
    )
    assert manifest.calibration.prior_recordings == 2 * known


def test_all_channels_are_clips_of_one_recording(pump: LoadedModel, workshop: Any, tmp_path: Path) -> None:
    for number in range(4):
        clip = workshop.normal(number, 4.0)
        soundfile.write(tmp_path / f"{number}.wav", np.stack([clip, clip[::-1]], axis=1), 16_000)
    paths = normal_recordings([tmp_path]).recordings
    every, _ = recalibrate(pump.bundle, pump.predictor, paths, RecalibrationRequest("pump-2", "2", all_channels=True))
    one, _ = recalibrate(pump.bundle, pump.predictor, paths, RecalibrationRequest("pump-2", "2", channel=1))
    assert (every.calibration.recordings, every.calibration.clips) == (4, 8)
    assert (one.calibration.recordings, one.calibration.clips) == (4, 4)
    assert (every.channel, one.channel) == (0, 1)


def test_copies_of_a_recording_count_once(pump: LoadedModel, workshop: Any, tmp_path: Path) -> None:
    paths = list(workshop.recordings[:5])
    for path in workshop.recordings[:5]:
        paths.append(Path(shutil.copy(path, tmp_path / f"copy-{path.name}")))
    manifest, _ = recalibrate(pump.bundle, pump.predictor, paths, RecalibrationRequest("pump-2", "2"))
    assert (manifest.calibration.recordings, manifest.calibration.clips) == (5, 5)


def test_too_little_sound_is_named(pump: LoadedModel, workshop: Any, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="2 normal recording"):
        recalibrate(pump.bundle, pump.predictor, workshop.recordings[:2], RecalibrationRequest("pump-2", "2"))
    short = tmp_path / "short.wav"
    soundfile.write(short, workshop.normal(0, 2.0), 16_000)
    with pytest.raises(CalibrationError, match="as long as a clip"):
        recalibrate(pump.bundle, pump.predictor, [short], RecalibrationRequest("pump-2", "2"))


def test_a_file_that_is_no_sound_is_named(pump: LoadedModel, tmp_path: Path) -> None:
    path = tmp_path / "notes.wav"
    path.write_text("not sound")
    with pytest.raises(AudioFormatUnsupported, match=r"notes\.wav"):
        recalibrate(pump.bundle, pump.predictor, [path], RecalibrationRequest("pump-2", "2"))
    with pytest.raises(FileUnreadable, match=r"gone\.wav"):
        recalibrate(pump.bundle, pump.predictor, [tmp_path / "gone.wav"], RecalibrationRequest("pump-2", "2"))


def test_all_recordings_that_cannot_be_used_are_named_at_once_or_left_out(
    pump: LoadedModel, workshop: Any, tmp_path: Path
) -> None:
    whole = workshop.recordings[0].read_bytes()
    cut, silent = tmp_path / "cut.wav", tmp_path / "silent.wav"
    cut.write_bytes(whole[: len(whole) // 2])
    soundfile.write(silent, np.zeros(16_000 * 5), 16_000)
    paths, request = [*workshop.recordings, cut, silent], RecalibrationRequest("pump-2", "2")
    with pytest.raises(AudioTruncated, match=r"2 recordings cannot be used: .*cut\.wav: .*silent\.wav is no normal"):
        recalibrate(pump.bundle, pump.predictor, paths, request)

    left_out: list[Path] = []
    manifest, _ = recalibrate(
        pump.bundle, pump.predictor, paths, request, on_unusable=lambda path, _: left_out.append(path)
    )
    assert left_out == [cut, silent]
    assert manifest.calibration.recordings == len(workshop.recordings)
    with pytest.raises(AudioTruncated, match="2 recordings"):  # nothing is left
        recalibrate(pump.bundle, pump.predictor, [cut, silent], request, on_unusable=lambda path, error: None)


def test_warnings_about_the_sound_are_given_with_their_recording(
    pump: LoadedModel, workshop: Any, tmp_path: Path
) -> None:
    for number in range(4):
        clip = workshop.normal(number, 4.0)
        soundfile.write(tmp_path / f"{number}.mp3", np.stack([clip, clip], axis=1), 16_000)
    said: list[tuple[str, str]] = []
    recalibrate(
        pump.bundle,
        pump.predictor,
        sorted(tmp_path.iterdir()),
        RecalibrationRequest("pump-2", "2"),
        on_warning=lambda path, warning: said.append((path.name, warning.code)),
    )
    codes = ("lossy_coded", "channel_selected")
    assert said == [(f"{number}.mp3", code) for number in range(4) for code in codes]


def copies(recordings: list[Path], folder: Path, gain: float, subtype: str = "FLOAT") -> list[Path]:
    folder.mkdir()
    for path in recordings:
        sound, rate_hz = soundfile.read(path, dtype="float32")
        soundfile.write(folder / path.name, sound * np.float32(gain), rate_hz, subtype=subtype)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("unit", [64.0, 2.0**-17])
def test_floats_in_a_unit_of_their_own_make_the_same_thresholds_by_their_scale(
    pump: LoadedModel, workshop: Any, tmp_path: Path, unit: float
) -> None:
    request = RecalibrationRequest("pump-2", "2")
    plain, _ = recalibrate(pump.bundle, pump.predictor, workshop.recordings, request)
    in_unit, _ = recalibrate(pump.bundle, pump.predictor, copies(workshop.recordings, tmp_path / "u", unit), request)
    scale = in_unit.calibration.float_scale
    gain_db = 20 * np.log10(scale * unit)
    assert plain.calibration.float_scale == 1.0
    assert scale == 2.0 ** round(np.log2(scale)) != 1.0
    assert in_unit.calibration.level_dbfs_low == pytest.approx(plain.calibration.level_dbfs_low + gain_db, abs=1e-6)
    if scale * unit == 1.0:
        assert in_unit.clip == plain.clip


def test_floats_of_full_scale_are_taken_as_they_are(pump: LoadedModel, workshop: Any, tmp_path: Path) -> None:
    request = RecalibrationRequest("pump-2", "2")
    floats = copies(workshop.recordings, tmp_path / "floats", 1.0)
    plain, in_floats = (recalibrate(pump.bundle, pump.predictor, one, request) for one in (workshop.recordings, floats))
    assert in_floats[0].calibration.float_scale == 1.0
    assert in_floats[0].clip == plain[0].clip


def test_a_recording_in_which_the_machine_stands_is_named(pump: LoadedModel, workshop: Any, tmp_path: Path) -> None:
    standing = copies(workshop.recordings[:1], tmp_path / "standing", 0.03, "PCM_24")
    request = RecalibrationRequest("pump-2", "2")
    with pytest.raises(CalibrationError, match=rf"{standing[0].name} is no normal recording \(not_running\)"):
        recalibrate(pump.bundle, pump.predictor, [*workshop.recordings[1:], *standing], request)
    quiet = replace(request, quiet_is_normal=True)
    manifest, _ = recalibrate(pump.bundle, pump.predictor, [*workshop.recordings[1:], *standing], quiet)
    assert manifest.calibration.recordings == len(workshop.recordings)


@pytest.mark.parametrize("unit", [8.0, 1e-4])
def test_copies_in_another_unit_lend_no_spread(pump: LoadedModel, workshop: Any, tmp_path: Path, unit: float) -> None:
    """A clip would be measured by itself."""
    request = RecalibrationRequest("pump-3", "1")
    manifest, _ = recalibrate(pump.bundle, pump.predictor, copies(workshop.recordings, tmp_path / "u", unit), request)
    assert manifest.calibration.prior_recordings == 0
