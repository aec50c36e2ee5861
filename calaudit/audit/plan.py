"""The plan of an audit: a value, made before any work, in which everything has a content key.

A key hashes whatever its artefact depends on, so a finished artefact is valid exactly as long as
its key is the same, and resuming an audit is: make what isn't there.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calaudit.audit.config import AuditConfig, CalibsetEntry, SetFile
from calaudit.settings import as_values
from calaudit.version import __version__


@dataclass(frozen=True, slots=True)
class PlannedSet:
    """A calibration set: drawn to `path`, or given there."""

    name: str
    path: Path
    key: str
    recipe: str
    """Its name in the audit file; draws of one recipe share it."""
    draw: int
    """Number of the draw, from 1; 0 for a set that is given."""
    seed: int
    """Of this draw."""


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """One INT8 engine to be judged."""

    calibset: str
    method: str
    engine: Path
    scales: Path
    predictions: Path
    recipe: str
    """What its calibration set was drawn by."""
    draw: int
    """As `PlannedSet.draw`."""

    @property
    def id(self) -> str:
        """``calibset/method``."""
        return f"{self.calibset}/{self.method}"


@dataclass(frozen=True, slots=True)
class Plan:
    """All artefacts of one audit."""

    calibsets: tuple[PlannedSet, ...]
    ranges: Path
    reference: Path
    """FP32 predictions."""
    cells: tuple[PlannedCell, ...]
    report: Path


def content_key(value: Any) -> str:
    """Hash of a JSON-like value: 16 hexadecimal digits, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def file_key(path: Path) -> str:
    """Hash of a file's bytes: 16 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def make_plan(
    config: AuditConfig, *, model: str, pool: str, rows: str, folder: Path, seed: int
) -> Plan:
    """Lay out an audit.

    Parameters
    ----------
    config : AuditConfig
    model, pool : str
        Content fingerprints.
    rows : str
        Key of the rows to be predicted.
    folder : Path
        Where artefacts go.
    seed : int
        Seed of the draws; every further draw of a recipe has one made from it.
    """
    base = {"calaudit": __version__, "pool": pool, "model": model}
    sets = tuple(
        _planned_set(config, name, base, folder, (draw, seed))
        for name, entry in config.calibsets.items()
        for draw in _draws(entry, config.audit.replicates)
    )
    sets_key = content_key({**base, "sets": [[s.name, s.key] for s in sets]})
    # scales come from the sets alone: other slices need other ranges, but no other engines
    ranges_key = content_key({"sets": sets_key, "slices": list(map(as_values, config.dimensions))})
    run = {**base, "rows": rows, "kernels": config.audit.kernels}
    cells = tuple(
        _planned_cell(planned, method, folder, {**run, "ranges": sets_key})
        for planned in sets
        for method in config.audit.methods
    )
    return Plan(
        calibsets=sets,
        ranges=folder / "ranges" / f"ranges-{ranges_key}.h5",
        reference=folder / "predictions" / f"fp32-{content_key(run)}.h5",
        cells=cells,
        report=folder / "report.json",
    )


def _draws(entry: CalibsetEntry, replicates: int) -> Sequence[int]:
    return (0,) if isinstance(entry, SetFile) else range(1, replicates + 1)


def draw_seed(seed: int, draw: int) -> int:
    """Seed of a recipe's draw: the audit's own for the first, so that more draws change no set."""
    if draw <= 1:
        return seed
    digest = hashlib.blake2b(f"{seed}#{draw}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


def _planned_set(
    config: AuditConfig, recipe: str, base: Mapping[str, str], folder: Path, of: tuple[int, int]
) -> PlannedSet:
    draw, seed = of
    entry = config.calibsets[recipe]
    if isinstance(entry, SetFile):
        path = config.resolve(entry.file)
        key = file_key(path) if path.exists() else "missing"
        return PlannedSet(recipe, path, key, recipe, draw, seed)
    own = draw_seed(seed, draw)
    key = content_key(
        {
            **base,
            "recipe": as_values(entry),
            "seed": own,
            "evaluate": config.audit.evaluate,
            "calibrate": config.audit.calibrate,
        }
    )
    name = recipe if draw == 1 else f"{recipe}#{draw}"
    return PlannedSet(
        name, folder / "calibsets" / f"{_slug(name)}-{key}.h5", key, recipe, draw, own
    )


def _planned_cell(
    planned: PlannedSet, method: str, folder: Path, base: Mapping[str, str]
) -> PlannedCell:
    key = content_key({**base, "calibset": planned.name, "method": method})
    stem = f"{_slug(planned.name)}-{method}-{key}"
    return PlannedCell(
        planned.name,
        method,
        engine=folder / "engines" / f"{stem}.onnx",
        scales=folder / "scales" / f"{stem}.json",
        predictions=folder / "predictions" / f"{stem}.h5",
        recipe=planned.recipe,
        draw=planned.draw,
    )


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:60]
