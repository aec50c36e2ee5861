import csv
import importlib.util
import os
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest
import soundfile

from calaudit.formats.pool import open_pool

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "speech" / "build.py"
AUDIO = Path(os.environ.get("CALAUDIT_DATA", ROOT.parent / "shared" / "data")) / "speech"
KINDS = (
    "dog", "rain", "sea_waves", "crying_baby", "clock_tick",
    "sneezing", "helicopter", "chainsaw", "rooster", "crackling_fire",
)  # fmt: skip


def write_sources(folder: Path) -> None:
    """Lay the ready-made recordings out as their publishers do."""
    (folder / "speech").mkdir()
    (folder / "noise" / "audio").mkdir(parents=True)
    (folder / "noise" / "meta").mkdir()
    with h5py.File(AUDIO / "audio.h5") as file:
        columns = zip(
            file["speech/wave"][:],
            file["speech/label"][:],
            file["speech/speaker"].asstr()[:],
            file["speech/recording"][:],
            strict=True,
        )
        for wave, label, speaker, take in columns:
            path = folder / "speech" / f"{label}_{speaker}_{take}.wav"
            soundfile.write(path, wave, 8000, subtype="PCM_16")
        clips = list(
            zip(file["noise/wave"][:], file["noise/fold"][:], file["noise/kind"][:], strict=True)
        )
    table = [("filename", "fold", "category", "esc10")]
    for number, (wave, fold, kind) in enumerate(clips):
        name = f"{fold}-{number:04d}.wav"
        soundfile.write(folder / "noise" / "audio" / name, wave, 8000, subtype="PCM_16")
        table.append((name, str(fold), KINDS[kind - 1], "True"))
    with (folder / "noise" / "meta" / "esc50.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(table)


def load(path: Path) -> ModuleType:
    """A script as a module; it may have no suffix."""
    loader = SourceFileLoader(f"script_{abs(hash(path))}", str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(not AUDIO.exists(), reason="the ready-made speech data isn't here")
def test_the_pools_equal_the_ready_made_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sources(tmp_path)
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    ours, theirs = load(SCRIPT), load(AUDIO / "build")
    # Two of the six noise levels, for time.
    monkeypatch.setattr(ours, "SNRS_DB", (np.inf, 0.0))
    monkeypatch.setattr(theirs, "SNRS", [np.inf, 0.0])
    speech = ours.read_speech(tmp_path / "speech")
    ours.build(speech, tmp_path / "noise", tmp_path / "ours")
    theirs.main(tmp_path / "theirs")
    for features in ("power", "log"):
        with (
            open_pool(tmp_path / "ours" / features / "pool.h5") as mine,
            open_pool(tmp_path / "theirs" / features / "pool.h5") as other,
        ):
            rows = np.arange(len(other), dtype=np.int64)
            assert mine.columns(list(other.meta)).equals(other.columns(list(other.meta)))
            np.testing.assert_allclose(
                mine.read_inputs(rows)["x"], other.read_inputs(rows)["x"], rtol=1e-4, atol=1e-4
            )
