"""Build the speech example's two pools: spoken digits in street noise.

    python examples/speech/build.py --speech recordings/ --noise ESC-50/ [--out data/speech]

`--speech` is the folder of the Free Spoken Digit Dataset's recordings, `--noise` a checkout of
ESC-50; README.md says where they are. Writes ``power/pool.h5`` and ``log/pool.h5``: the same rows
in the same order, seen through two kinds of features.
"""

import argparse
from pathlib import Path

import numpy as np
from audio import FEATURES, SNRS_DB, Speech, mix, read_noise, read_speech
from numpy.typing import NDArray

from calaudit.formats.pool_writer import PoolWriter

SPLITS = {"calibration": (range(10, 15), 4), "evaluation": (range(10), 5)}
"""Takes and fold of the noise per split: neither speech nor noise is in two of them."""
SEED = 2026
BATCH = 300


def build(speech: Speech, noise: Path, out: Path) -> str:
    """Write both pools; returns one line about them."""
    random = np.random.default_rng(SEED)
    writers = {name: PoolWriter(out / name / "pool.h5") for name in FEATURES}
    with writers["power"], writers["log"]:
        for split, (takes, fold) in SPLITS.items():
            chosen = speech.where(np.isin(speech.takes, list(takes)))
            clips = read_noise(noise, (fold,))
            for snr_db in SNRS_DB:
                mixed = np.stack([mix(wave, clips, snr_db, random) for wave in chosen.waves])
                meta = {
                    "split": [split] * len(mixed),
                    "snr_db": np.full(len(mixed), snr_db, np.float32),
                    "speaker": chosen.speakers.tolist(),
                    "recording": chosen.takes,
                    "rms": np.sqrt((mixed**2).mean(1)),
                }
                for name, writer in writers.items():
                    writer.append({"x": featurize(name, mixed)}, {"label": chosen.labels}, meta)
        n = len(writers["power"])
    return f"{out}: {n} rows each in {' and '.join(writers)}"


def featurize(name: str, waves: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features (n, 1, bands, frames) of waves (n, samples), a few at a time."""
    batches = (waves[start : start + BATCH] for start in range(0, len(waves), BATCH))
    return np.concatenate([FEATURES[name](batch) for batch in batches])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--speech", type=Path, required=True, help="folder of recordings")
    parser.add_argument("--noise", type=Path, required=True, help="checkout of ESC-50")
    parser.add_argument("--out", type=Path, default=Path("data/speech"))
    options = parser.parse_args()
    print(build(read_speech(options.speech), options.noise, options.out))


if __name__ == "__main__":
    main()
