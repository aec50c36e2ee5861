"""Answers of the speech audit's engines, and logs of users who ask for its samples."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calaudit.ab.assignment import arms
from calaudit.ab.traffic import Traffic, make_requests
from calaudit.audit.prepare import Overrides, prepared_audit
from calaudit.audit.run import run_audit
from calaudit.formats.predictions import Predictions
from calaudit.metrics.unit_scores import Scores, SetScores, of_units
from calaudit.statistics.arms import Answers
from calaudit.steps.score import score_eval_sets

ROOT = Path(__file__).parents[2]
N = 20_000
"""Requests of a log."""
USERS = 3000
"""Who may come, where they come back."""
AUDIT = """
[audit]
name = "speech for A/B"
model = "{model}"
pool = "{pool}"
evaluate = "split = 'evaluation'"
calibrate = "split = 'calibration'"
methods = ["entropy", "entropy-trt", "minmax"]

[[slices]]
by = "snr_db"
edges = [0, 5, 10, 20, inf]

[[slices]]
by = "speaker"

[[calibsets]]
recipe = "{root}/calibsets/speech-clean.toml"

[[calibsets]]
recipe = "{root}/calibsets/speech-noisiest.toml"

[[calibsets]]
recipe = "{root}/calibsets/speech-stratified.toml"

[[tasks]]
kind = "classification"
metrics = ["top1"]
"""
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """The samples, and what each engine scores on them."""

    scores: Mapping[str, Floats]
    """Engine → (samples,) 1 where it is right."""
    fp32: Floats
    slices: Mapping[str, Ints]
    """Slice → its samples."""
    home: tuple[Ints, ...]
    """What users ask for: samples of one speaker at one noise level each."""


def speech(data: Path, out: Path) -> World | None:
    model, build = data / "speech" / "power" / "model.onnx", data / "speech" / "build"
    if not build.exists():
        print(f"skipped: {build} is absent")
        return None
    pool, path = out / "speech" / "power" / "pool.h5", out / "ab-speech.toml"
    out.mkdir(parents=True, exist_ok=True)
    if not pool.exists():
        subprocess.run([sys.executable, build, out / "speech"], check=True, capture_output=True)
    text = AUDIT.format(model=model.resolve(), pool=pool.resolve(), root=ROOT)
    path.write_text(text, encoding="utf-8")
    report, _ = run_audit(path, Overrides(), formats="none")
    folder = path.with_suffix("")
    cells = {cell.id: Predictions(folder / str(cell.predictions)) for cell in report.cells}
    reference = Predictions(folder / str(report.reference.predictions))
    with prepared_audit(path, Overrides()) as audit:
        (scored,) = score_eval_sets(audit.eval_sets, reference, cells)
        (metric,) = scored.eval_set.metrics
        scores = {cell: _by_unit(each[metric]) for cell, each in scored.cells.items()}
        fp32 = _by_unit(scored.reference[metric])
        slices = {name: audit.slices.rows(name) for name in audit.slices.names}
        meta = audit.pool.columns(["speaker", "snr_db"], audit.evaluated)
        code = meta.select(["speaker", "snr_db"]).with_row_index("row")
        home = tuple(
            group["row"].to_numpy().astype(np.int64)
            for _, group in code.group_by(["speaker", "snr_db"], maintain_order=True)
        )
    return World(scores, fp32, slices, home)


@dataclass(frozen=True)
class Replay:
    """One log, dealt to two arms."""

    user: Ints
    arm: NDArray[np.int8]
    sample: Ints
    slices: Mapping[str, Ints]
    """Slice → its requests."""
    expected: Floats

    def answers(self, control: Floats, treatment: Floats) -> Answers:
        score = np.where(self.arm == 1, treatment[self.sample], control[self.sample])
        return Answers(self.arm, self.user, score, span=1.0, expected=self.expected)


def replay(world: World, seed: int, *, back: bool, share: float = 0.5, n: int = N) -> Replay:
    """A log of `n` requests; `back`: users come back, else each comes once."""
    traffic = Traffic(rate=100, bursty=True, users=USERS, seed=seed)
    log = make_requests(traffic, n, 1)
    user = log.user if back else np.arange(n)
    names = log.users if back else [f"u{each}" for each in range(n)]
    rng = np.random.default_rng([seed, 1])
    at = rng.integers(0, len(world.home), len(names))[user]
    sizes = np.array([len(each) for each in world.home])
    place = (rng.random(n) * sizes[at]).astype(np.int64)
    starts = sizes.cumsum() - sizes
    sample = np.concatenate(world.home)[starts[at] + place]
    arm = arms(names, salt=f"replay {seed}", share=share)[user]
    member = {name: np.isin(sample, rows) for name, rows in world.slices.items()}
    slices = {name: np.flatnonzero(each) for name, each in member.items()}
    return Replay(user, arm, sample, slices, world.fp32[sample])


def _by_unit(scores: Scores) -> Floats:
    assert not isinstance(scores, SetScores)
    return of_units(scores)
