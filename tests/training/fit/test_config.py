import pytest

from humwatch_training.errors import FitConfigError
from humwatch_training.fit.config import FitConfig, fit_config


def test_a_budget_is_needed():
    with pytest.raises(FitConfigError, match="a budget is needed"):
        fit_config({"data": ("a",)})


def test_every_wrong_setting_is_named():
    with pytest.raises(FitConfigError, match=r"batch_windows.*depth"):
        fit_config({"data": ("a",), "steps": 1, "batch_windows": 0, "depth": 3})


def test_fractions_have_to_sum_to_one():
    with pytest.raises(FitConfigError, match=r"sum to 1\.1"):
        fit_config({"data": ("a",), "steps": 1, "split": {"train": 0.5, "calibration": 0.4, "test": 0.2}})


def test_network_and_features_have_to_agree_on_bands():
    with pytest.raises(FitConfigError, match="the network has 64 bands, the features 128"):
        fit_config({"data": ("a",), "steps": 1, "network": {"kind": "anp", "n_mels": 64}})


def test_negative_channels_are_refused():
    with pytest.raises(FitConfigError, match="counted from 0"):
        fit_config({"data": ("a",), "steps": 1, "channel": -1})


def test_settings_survive_json():
    config = FitConfig(data=("a",), minutes=2.5, channel="all", context_points=192)
    assert FitConfig.model_validate_json(config.model_dump_json()) == config


def test_differences_name_what_matters_only():
    config = FitConfig(data=("a",), steps=10)
    other = FitConfig(data=("b",), steps=11, seed=1, checkpoint_every_s=5)
    assert config.differences(other) == ["seed", "steps"]
