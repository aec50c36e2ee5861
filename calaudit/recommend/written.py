"""The audit file that judges what was chosen: the same audit, with other ranges to judge.

The winner is its only candidate, so that its verdict, and its exit status, are the winner's. Plain
set and rivals are controls: measured beside it, they decide nothing and cost it nothing.
"""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any

from calaudit.audit.entries import SetFile
from calaudit.audit.finished import RECOMMENDED
from calaudit.audit.plan import GIVEN
from calaudit.audit.prepare import Audit, Overrides
from calaudit.calibration.scales import ScaleTable, TapScale, scale_of
from calaudit.formats.scales import keep_scales
from calaudit.formats.toml import toml_tables
from calaudit.formats.writing import write_text
from calaudit.recommend.exempting import exemption_name
from calaudit.recommend.options import Candidate, FromFile, FromRecipe, FromSet
from calaudit.results.audited import with_exemption
from calaudit.runtime.settings import as_values
from calaudit.sampling.recipe import Recipe

_SLUG = re.compile(r"[^\w.#-]+")


@dataclass(slots=True, eq=False)
class Written:
    """An audit file that was written."""

    path: Path
    cells: dict[str, str]
    """Name of a candidate → the id of its cell there."""
    files: dict[str, str]
    """Name of a candidate → its recipe, set or scale table, from the audit file's folder."""


@dataclass(slots=True, eq=False)
class _Content:
    """Parts of the file as they are collected."""

    audit: Audit
    folder: Path
    sets: dict[str, dict[str, Any]] = field(default_factory=dict)
    scales: dict[str, dict[str, Any]] = field(default_factory=dict)
    exemptions: list[dict[str, Any]] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    cells: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def add(self, candidate: Candidate, role: str, base: frozenset[str]) -> None:
        """One engine, the winner first."""
        if candidate.name in self.cells:
            return
        left = [op for op in candidate.float_ops if op not in base]
        own = "control" if left else role
        stem = self._set(candidate, own) or self._table(candidate, own)
        if left:
            calibset, _, method = stem.rpartition("/")
            name = self._exemption(candidate, left, calibset, role)
            stem = f"{calibset}/{with_exemption(method, name)}"
        self.cells[candidate.name] = stem

    def _exemption(self, candidate: Candidate, left: list[str], calibset: str, role: str) -> str:
        """Its name in the file: the candidate's, unless another one is called so."""
        own = candidate.exemption or exemption_name(left)
        for each in self.exemptions:
            if (each["name"], each["float_ops"], each["role"]) == (own, left, role):
                each["sets"] = list(dict.fromkeys([*each["sets"], calibset]))
                return own
        numbered = (f"{own}-{number}" for number in count(2))
        names = {each["name"] for each in self.exemptions}
        name = next(each for each in chain([own], numbered) if each not in names)
        self.exemptions.append({"name": name, "float_ops": left, "sets": [calibset], "role": role})
        return name

    def _set(self, candidate: Candidate, role: str) -> str | None:
        """As a calibration set, where there is one and its role isn't taken; its cell's id."""
        source = candidate.source
        if isinstance(source, FromSet):
            name, entry = self._drawn(source)
        elif isinstance(source, FromRecipe):
            name, entry = source.recipe.name, _recipe(source.recipe)
        else:
            return None
        entry |= {"role": role, "methods": []}
        held = self.sets.setdefault(name, entry)
        if held["role"] != role:
            return None
        if source.method not in held["methods"]:
            held["methods"].append(source.method)
        if source.method not in self.methods:
            self.methods.append(source.method)
        if isinstance(source, FromRecipe):
            path = self.folder / "recipes" / f"{_slug(name)}.toml"
            path.parent.mkdir(exist_ok=True)
            write_text(path, "\n".join(_recipe_lines(source.recipe)) + "\n")
            self.files[candidate.name] = path.relative_to(self.folder).as_posix()
        return f"{name}/{source.method}"

    def _drawn(self, source: FromSet) -> tuple[str, dict[str, Any]]:
        planned = source.planned
        entry = self.audit.config.calibsets[planned.recipe]
        if planned.draw <= 1:
            given = dict(_raw_sets(self.audit)[planned.recipe])
            if not isinstance(entry, SetFile) and "recipe" not in given:
                given["seed"] = planned.seed
            given.pop("methods", None)
            return planned.recipe, given
        # no recipe draws it again under another name: the seed depends on the name
        name = f"{planned.recipe}, draw {planned.draw}"
        copy = self.folder / "calibsets" / f"{_slug(planned.name)}.h5"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(planned.path, copy)
        return name, {"name": name, "file": self.from_base(copy)}

    def _table(self, candidate: Candidate, role: str) -> str:
        """As given ranges; its cell's id."""
        source = candidate.source
        if isinstance(source, FromFile):
            entry = self.audit.config.scales[source.name]
            name, path = source.name, self.audit.config.resolve(entry.file)
        else:
            name = candidate.name.replace("/", " with ")
            path = self.folder / "scales" / f"{_slug(name)}.json"
            path.parent.mkdir(exist_ok=True)
            keep_scales(path, table_of(self.audit, candidate, name))
            self.files[candidate.name] = path.relative_to(self.folder).as_posix()
        self.scales[name] = {"name": name, "file": self.from_base(path), "role": role}
        return f"{name}/{GIVEN}"

    def from_base(self, path: Path) -> str:
        """A path as the file names it: from where the audit's own paths start."""
        return _relative(path, self.audit.config.base)


def table_of(audit: Audit, candidate: Candidate, name: str) -> ScaleTable:
    """The scale table of a candidate's ranges."""
    taps = {tap: TapScale(amax, scale_of(amax)) for tap, amax in candidate.ranges.items()}
    method = candidate.name.rpartition("/")[2] if "/" in candidate.name else "minimax"
    return ScaleTable(taps, method, name, model_fingerprint=audit.qdq.fingerprint)


def write_recommended(
    audit: Audit,
    overrides: Overrides,
    folder: Path,
    *,
    winner: Candidate,
    others: Sequence[Candidate],
    base: frozenset[str],
) -> Written:
    """Write the audit file, and the recipes, sets and scale tables that it names.

    Parameters
    ----------
    audit : Audit
        The one that was asked about.
    overrides : Overrides
        What stood in place of its values.
    folder : Path
        Where to write.
    winner : Candidate
    others : sequence of Candidate
        Plain set and rivals.
    base : frozenset of str
        Products that all of the audit's engines leave in float.

    Raises
    ------
    OutputError
        A file can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = _Content(audit, folder)
    content.add(winner, "candidate", base)
    for each in others:
        content.add(each, "control", base)
    raw = dict(audit.config.raw)
    tables: dict[str, Any] = {
        "audit": _settings(audit, overrides, folder, content.methods),
        "slices": raw["slices"],
        "calibsets": list(content.sets.values()),
        "scales": list(content.scales.values()),
        "tasks": raw["tasks"],
        "gates": raw.get("gates", []),
        "targets": raw.get("targets", []),
        "exemptions": content.exemptions,
    }
    path = folder / RECOMMENDED.name
    lines = [
        f"# What `calaudit recommend` chose for {audit.config.path.name}, and judges here:",
        "# the winner is the only candidate; the plain set and the next best are controls.",
        *toml_tables({key: value for key, value in tables.items() if value}),
    ]
    write_text(path, "\n".join(lines) + "\n")
    return Written(path, content.cells, content.files)


def _settings(
    audit: Audit, overrides: Overrides, folder: Path, methods: list[str]
) -> dict[str, Any]:
    base = audit.config.base
    given = {key: value for key, value in audit.config.raw["audit"].items() if key != "replicates"}
    replaced = {"model": overrides.model, "pool": overrides.pool}
    return {
        **given,
        **{key: _relative(Path(path), base) for key, path in replaced.items() if path},
        "name": f"{audit.config.audit.name}, recommended",
        "relative_to": _relative(base, folder),
        "seed": audit.seed,
        "precisions": ["int8"],
        "methods": methods or list(audit.config.audit.methods),
    }


def _raw_sets(audit: Audit) -> Mapping[str, Mapping[str, Any]]:
    """Calibration set → its table in the audit file."""
    return dict(zip(audit.config.calibsets, audit.config.raw["calibsets"], strict=True))


def _recipe(recipe: Recipe) -> dict[str, Any]:
    return {"kind": recipe.kind, **_pruned(as_values(recipe))}


def _recipe_lines(recipe: Recipe) -> list[str]:
    """A recipe file: its keys, without the table's name."""
    return list(toml_tables({"recipe": _recipe(recipe)}))[2:]


def _pruned(value: Any) -> Any:
    """Without keys that are left at their defaults."""
    if isinstance(value, Mapping):
        kept = {key: _pruned(each) for key, each in value.items()}
        return {key: each for key, each in kept.items() if each not in (None, [], {})}
    return [_pruned(each) for each in value] if isinstance(value, list | tuple) else value


def _relative(path: Path, start: Path) -> str:
    """Across drives, which no relative path leads over, the path itself."""
    absolute = path.resolve()
    try:
        return Path(os.path.relpath(absolute, start.resolve())).as_posix()
    except ValueError:
        return absolute.as_posix()


def _slug(name: str) -> str:
    return _SLUG.sub("_", name)[:60]
