"""The calibration sets of an audit's plan: every draw of its recipes, and sets that are given."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from calaudit.audit.config import AuditConfig
from calaudit.audit.entries import CalibsetEntry, SetFile
from calaudit.audit.keys import content_key, file_key, slug
from calaudit.sampling.recipe import Role


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
    role: Role = "candidate"
    settled: bool = False
    """Whether any other draw would be the same set, so that it is drawn once."""


def plan_sets(
    config: AuditConfig,
    base: Mapping[str, str],
    folder: Path,
    seed: int,
    settled: Collection[str],
) -> Iterator[PlannedSet]:
    """Lay out the sets.

    Parameters
    ----------
    config : AuditConfig
    base : mapping
        What every artefact of the audit depends on: release, model, pool.
    folder : Path
        Where artefacts go.
    seed : int
        Seed of the draws; every further draw of a recipe has one made from it.
    settled : collection of str
        Recipes that leave nothing to chance: one draw of them is all there are.
    """
    for name, entry in config.calibsets.items():
        for draw in _draws(entry, 1 if name in settled else config.audit.replicates):
            planned = _planned_set(config, name, base, folder, (draw, seed))
            yield replace(planned, settled=name in settled)


def _draws(entry: CalibsetEntry, replicates: int) -> Sequence[int]:
    return (0,) if isinstance(entry, SetFile) else range(1, replicates + 1)


def _draw_seed(seed: int, draw: int) -> int:
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
        return PlannedSet(recipe, path, key, recipe, draw, seed, config.role_of(recipe))
    # a recipe's own seed is that of its first draw
    own = seed if draw == 1 else _draw_seed(seed if entry.seed is None else entry.seed, draw)
    key = content_key(
        {
            **base,
            "recipe": entry.choice,
            "seed": own,
            "evaluate": config.audit.evaluate,
            "calibrate": config.audit.calibrate,
        }
    )
    name = recipe if draw == 1 else f"{recipe}#{draw}"
    path = folder / "calibsets" / f"{slug(name)}-{key}.h5"
    return PlannedSet(name, path, key, recipe, draw, own, config.role_of(recipe))
