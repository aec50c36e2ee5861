from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from calaudit.formats.importers.manifest_settings import AudioSettings
from calaudit.formats.importers.media import read_audio
from calaudit.runtime.errors import PoolError

WAVE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)).astype(np.float32)


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "tone.wav", WAVE, 8000, subtype="FLOAT")
    return tmp_path / "tone.wav"


def read(path: Path, **values: Any) -> np.ndarray[Any, Any]:
    return read_audio(path, AudioSettings(**values))


def test_a_recording_is_one_channel_of_its_samples(tone: Path) -> None:
    values = read(tone, sample_rate=8000)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, WAVE[None])
    np.testing.assert_array_equal(read(tone, sample_rate=8000, layout="NL"), WAVE)


def test_resampling_keeps_the_tone(tone: Path) -> None:
    values = read(tone, sample_rate=16000, layout="NL")
    assert len(values) == 16000
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    np.testing.assert_allclose(values[200:-200], expected[200:-200], atol=0.005)


def test_channels_are_averaged(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "two.wav", np.stack([WAVE, 0 * WAVE], 1), 8000, subtype="FLOAT")
    np.testing.assert_allclose(read(tmp_path / "two.wav", sample_rate=8000)[0], WAVE / 2)


@pytest.mark.parametrize(("crop", "start"), [("start", 0), ("center", 3000)])
def test_long_recordings_are_cut(tone: Path, crop: str, start: int) -> None:
    values = read(tone, sample_rate=8000, length=2000, crop=crop)
    np.testing.assert_array_equal(values[0], WAVE[start : start + 2000])


def test_short_recordings_are_padded_and_normalised(tone: Path) -> None:
    values = read(tone, sample_rate=8000, length=9000, mean=0.1, std=2, layout="NL")
    np.testing.assert_allclose(values[:8000], (WAVE - 0.1) / 2, atol=1e-6)
    np.testing.assert_allclose(values[8000:], -0.05, atol=1e-6)


def test_files_that_are_no_audio_or_empty_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"hello")
    with pytest.raises(PoolError, match=r"a\.wav: isn't a readable recording"):
        read(tmp_path / "a.wav", sample_rate=8000)
    soundfile.write(tmp_path / "b.wav", np.zeros(0, np.float32), 8000)
    with pytest.raises(PoolError, match=r"b\.wav: holds no samples"):
        read(tmp_path / "b.wav", sample_rate=8000)
