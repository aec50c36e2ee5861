"""The plan of an audit: a value, made before any work, in which everything has a content key.

A key hashes whatever its artefact depends on, so a finished artefact is valid exactly as long as
its key is the same, and resuming an audit is: make what isn't there.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calaudit.audit.config import AuditConfig, SetFile
from calaudit.settings import as_values
from calaudit.version import __version__


@dataclass(frozen=True, slots=True)
class PlannedSet:
    """A calibration set: drawn to `path`, or given there."""

    name: str
    path: Path
    key: str


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """One INT8 engine to be judged."""

    calibset: str
    method: str
    engine: Path
    scales: Path
    predictions: Path

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
        Seed of the draws.
    """
    base = {"calaudit": __version__, "pool": pool, "model": model}
    sets = tuple(_planned_set(config, name, base, folder, seed) for name in config.calibsets)
    ranges_key = content_key({**base, "sets": [[s.name, s.key] for s in sets]})
    run = {**base, "rows": rows, "kernels": config.audit.kernels}
    cells = tuple(
        _planned_cell(planned.name, method, folder, {**run, "ranges": ranges_key})
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


def _planned_set(
    config: AuditConfig, name: str, base: Mapping[str, str], folder: Path, seed: int
) -> PlannedSet:
    entry = config.calibsets[name]
    if isinstance(entry, SetFile):
        path = config.resolve(entry.file)
        return PlannedSet(name, path, file_key(path) if path.exists() else "missing")
    key = content_key(
        {
            **base,
            "recipe": as_values(entry),
            "seed": seed,
            "evaluate": config.audit.evaluate,
            "calibrate": config.audit.calibrate,
        }
    )
    return PlannedSet(name, folder / "calibsets" / f"{_slug(name)}-{key}.h5", key)


def _planned_cell(calibset: str, method: str, folder: Path, base: Mapping[str, str]) -> PlannedCell:
    key = content_key({**base, "calibset": calibset, "method": method})
    stem = f"{_slug(calibset)}-{method}-{key}"
    return PlannedCell(
        calibset,
        method,
        engine=folder / "engines" / f"{stem}.onnx",
        scales=folder / "scales" / f"{stem}.json",
        predictions=folder / "predictions" / f"{stem}.h5",
    )


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:60]
