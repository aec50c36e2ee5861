"""The plan of an audit: a value, made before any work, in which everything has a content key.

A key hashes whatever its artefact depends on, so a finished artefact is valid exactly as long as
its key is the same, and resuming an audit is: make what isn't there.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from calaudit.audit.config import AuditConfig
from calaudit.audit.foreign_entry import ELSEWHERE
from calaudit.audit.keys import content_key, slug
from calaudit.audit.planned_sets import PlannedSet, plan_sets
from calaudit.backends.base import DEFAULT, Int8, Precision
from calaudit.backends.targets import Target
from calaudit.calibration.methods import ENTROPY_TRT
from calaudit.calibration.scales import ScaleTable
from calaudit.results.audited import with_exemption
from calaudit.runtime.errors import SettingsError
from calaudit.runtime.settings import as_values
from calaudit.sampling.recipe import Role
from calaudit.version import __version__

GIVEN: Final = "given"
"""The method of cells whose ranges are given."""


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """One engine to be judged."""

    id: str
    """``calibset/method``, the precision, or the name of an engine that somebody else made; behind
    the method ``+exemption``; the target behind it where it isn't the default backend."""
    backend: str
    """Name of the target: a backend's own, or one of ``[[targets]]``; or `ELSEWHERE`."""
    precision: Precision | Literal["unknown"]
    """Unknown where somebody else made it and its file doesn't show INT8."""
    calibset: str | None
    """None where no ranges are needed, and of engines that somebody else made."""
    method: str | None
    """One of the audit's, or the name of a calibration of the backend's own."""
    engine: Path | None
    """INT8 by Q/DQ: the graph, the same for every backend that takes one."""
    scales: Path | None
    built: Path
    """The backend's own engine, where it keeps one."""
    predictions: Path
    recipe: str | None = None
    """What its calibration set was drawn by."""
    draw: int = 0
    """As `PlannedSet.draw`."""
    given: Literal["qdq", "scales", "calibset"] | None = None
    """INT8: what the backend gets, as `calaudit.backends.base.Int8` has it."""
    nearest: tuple[str, ...] = ()
    """As `calaudit.backends.base.Int8` has it."""
    role: Role = "candidate"
    """Its calibration set's; an engine without one may ship."""
    ranges_by: str | None = None
    """Who estimates its ranges: ``calaudit``, or the registered backend behind its target."""
    given_ranges: str | None = None
    """Name of the ranges of ``[[scales]]`` that it has in place of a calibration set's."""
    exemption: str | None = None
    """One of the audit's ``[[exemptions]]``."""
    float_ops: tuple[str, ...] = ()
    """INT8: products of the folded model that are left in float, in graph order."""
    foreign: str | None = None
    """One of the audit's ``[[engines]]``, which somebody else made."""

    @property
    def way(self) -> str | None:
        """How it got its ranges and what it leaves in float: ``minmax+head``."""
        return with_exemption(self.method, self.exemption)


@dataclass(frozen=True, slots=True)
class ForeignPart:
    """What a plan needs of an engine that somebody else made."""

    fingerprint: str
    """Hash of its file's content."""
    int8: bool
    """Whether its file shows products in INT8."""
    float_ops: tuple[str, ...] = ()
    """Products that the audit's own engines have in INT8 and its file leaves in float."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All artefacts of one audit."""

    calibsets: tuple[PlannedSet, ...]
    ranges: Path
    """Of the tensors that get Q/DQ."""
    network_ranges: Path | None
    """Of all tensors that TensorRT's parser makes; None where no cell is quantized implicitly by
    ranges of ours."""
    slice_ranges: Path | None
    """Of the tensors that get Q/DQ, slice by slice over the tuning rows; None where no engine is
    INT8, or there are no such rows."""
    reference: PlannedCell
    """FP32 on the audit's backend; not judged."""
    cells: tuple[PlannedCell, ...]
    report: Path

    @property
    def implicit(self) -> bool:
        """Whether scale tables are given beside a graph, so that they need all its tensors."""
        return any(cell.given == "scales" for cell in self.cells)

    @property
    def key(self) -> str:
        """Hash of all that the artefacts depend on: two plans of one key make the same ones."""
        cells = [(cell.id, cell.predictions.name) for cell in (self.reference, *self.cells)]
        paths = (self.ranges, self.network_ranges, self.slice_ranges)
        ranges = [path.name for path in paths if path is not None]
        return content_key([[each.key for each in self.calibsets], ranges, cells])


def make_plan(
    config: AuditConfig,
    *,
    model: str,
    pool: str,
    rows: str,
    folder: Path,
    seed: int,
    kept: Mapping[str, object] = MappingProxyType({}),
    kept_of_reference: Mapping[str, object] = MappingProxyType({}),
    backends: Mapping[str, str],
    settled: Collection[str] = (),
    given: Mapping[str, ScaleTable] | None = None,
    tuning: str | None = None,
    float_ops: Mapping[str | None, tuple[str, ...]] = MappingProxyType({}),
    foreign: Mapping[str, ForeignPart] = MappingProxyType({}),
) -> Plan:
    """Lay out an audit.

    Parameters
    ----------
    config : AuditConfig
    model, pool : str
        Content fingerprints.
    rows : str
        Key of the rows to be predicted.
    kept, kept_of_reference : mapping
        What predictions of engines keep, and those of FP32; empty where it is all outputs.
    folder : Path
        Where artefacts go.
    seed : int
        Seed of the draws; every further draw of a recipe has one made from it.
    backends : mapping
        Target → what results depend on besides the graph: kernels, or library, version and GPU.
    settled : collection of str
        Recipes that leave nothing to chance: one draw of them is all there are.
    given : mapping, optional
        Ranges of ``[[scales]]``, by name.
    tuning : str, optional
        Key of the tuning rows and of what is observed on them; None where nothing is.
    float_ops : mapping
        Exemption → products that INT8 engines leave in float; None: engines without an exemption.
    foreign : mapping
        Engines that somebody else made, by name.
    """
    base = {"calaudit": __version__, "pool": pool, "model": model}
    sets = tuple(plan_sets(config, base, folder, seed, settled))
    sets_key = content_key({**base, "sets": [[s.name, s.key] for s in sets]})
    # scales come from the sets alone: other slices need other ranges, but no other engines
    batches = _batches(config) if config.audit.counts_again else {}
    ranges_key = content_key(
        {"sets": sets_key, "slices": list(map(as_values, config.dimensions)), **batches}
    )
    network_key = content_key({"sets": sets_key, "tensors": "network", **batches})
    layout = _Layout(
        config,
        folder,
        {**base, "rows": rows},
        backends,
        sets_key,
        float_ops or {None: ()},
        kept_of_reference,
    )
    reference = layout.alone(config.columns[0], "fp32")
    # what is held against FP32 depends on who ran that
    held = {**kept, "reference": reference.predictions.name} if kept else {}
    layout = replace(layout, kept=held)
    cells = (
        *layout.cells(sets, given or {}),
        *(layout.foreign(name, part) for name, part in foreign.items()),
    )
    implicit = any(cell.given == "scales" and cell.calibset is not None for cell in cells)
    return Plan(
        calibsets=sets,
        ranges=folder / "ranges" / f"ranges-{ranges_key}.h5",
        network_ranges=folder / "ranges" / f"network-{network_key}.h5" if implicit else None,
        slice_ranges=_slice_ranges(config, base, tuning, folder),
        reference=reference,
        cells=cells,
        report=folder / "report.json",
    )


def _slice_ranges(
    config: AuditConfig, base: Mapping[str, str], tuning: str | None, folder: Path
) -> Path | None:
    if tuning is None or "int8" not in config.audit.precisions:
        return None
    slices = list(map(as_values, config.dimensions))
    key = content_key({**base, "tuning": tuning, "slices": slices})
    return folder / "ranges" / f"slices-{key}.h5"


def _batches(config: AuditConfig) -> dict[str, str]:
    """What ranges by ``entropy-trt`` depend on besides the sets."""
    return {"batching": str(config.audit.batching)}


@dataclass(frozen=True, slots=True)
class _Layout:
    """Names of the cells' artefacts."""

    config: AuditConfig
    folder: Path
    base: Mapping[str, str]
    backends: Mapping[str, str]
    ranges: str
    float_ops: Mapping[str | None, tuple[str, ...]]
    kept: Mapping[str, object]
    """What predictions keep, and what that depends on; empty where it is all outputs."""

    def cells(
        self, calibsets: Sequence[PlannedSet], given: Mapping[str, ScaleTable]
    ) -> Iterator[PlannedCell]:
        """The audit's own target's cells, then those it is to agree with."""
        settings = self.config.audit
        own, *others = self.config.columns
        for target in (own, *others):
            if target in others:
                yield self.alone(target, "fp32")
            if "int8" in settings.precisions:
                for calibset in calibsets:
                    for way in self.config.ways(target, calibset.recipe):
                        for exemption in self.exemptions(calibset.recipe):
                            yield self.int8(target, calibset, way, exemption)
                for name, table in given.items():
                    for exemption in self.exemptions(name):
                        yield self.with_ranges(target, name, table, exemption)
            if "fp16" in settings.precisions:
                yield self.alone(target, "fp16")

    def int8(
        self, target: Target, planned: PlannedSet, way: Int8, exemption: str | None
    ) -> PlannedCell:
        """One INT8 cell. The graph and the scales don't depend on the target."""
        method, left = way.method, self.float_ops[exemption]
        graph: dict[str, object] = {
            **self.base,
            "ranges": self.ranges,
            "calibset": planned.name,
            "method": method,
            **(_batches(self.config) if method == ENTROPY_TRT else {}),
        }
        if way.given == "scales":
            graph["tensors"] = "network"
        if left:
            graph["float_ops"] = left
        called = with_exemption(method, exemption)
        stem = f"{slug(planned.name)}-{slug(str(called))}"
        shared = f"{stem}-{content_key(graph)}"
        own = self._own(stem, target, {**graph, **way.depends_on})
        scales = None if way.given == "calibset" else self.folder / "scales" / f"{shared}.json"
        return PlannedCell(
            id=f"{planned.name}/{called}{_behind(target)}",
            backend=target.name,
            precision="int8",
            calibset=planned.name,
            method=method,
            engine=self.folder / "engines" / f"{shared}.onnx" if way.given == "qdq" else None,
            scales=scales,
            built=self.folder / "engines" / f"{own}.engine",
            predictions=self._predictions(own),
            recipe=planned.recipe,
            draw=planned.draw,
            given=way.given,
            nearest=way.nearest,
            role=self.config.role_of(planned.recipe, exemption),
            ranges_by=target.backend if way.given == "calibset" else "calaudit",
            exemption=exemption,
            float_ops=left,
        )

    def exemptions(self, ranges: str) -> Iterator[str | None]:
        """None, then the audit's exemptions that engines of these ranges are judged with."""
        yield None
        for each in self.config.exemptions:
            if not each.sets or ranges in each.sets:
                yield each.name

    def with_ranges(
        self, target: Target, name: str, table: ScaleTable, exemption: str | None
    ) -> PlannedCell:
        """One INT8 cell whose ranges are given, the way the target takes those of our methods."""
        ways = [way for way in self.config.ways(target) if way.given != "calibset"]
        if not ways:
            raise SettingsError(
                f"{target.name} estimates its ranges itself, so it can't take those of {name!r}",
                where=f"{self.config.path}: scales",
                next_step='Add "calaudit" to its ranges, or drop [[scales]].',
            )
        way, left = ways[0], self.float_ops[exemption]
        graph = {
            **self.base,
            "scales": table.scales,
            "options": dict(table.options),
            **({"tensors": "network"} if way.given == "scales" else {}),
            **({"float_ops": left} if left else {}),
        }
        called = with_exemption(GIVEN, exemption)
        stem = f"{slug(name)}-{slug(str(called))}"
        shared = f"{stem}-{content_key(graph)}"
        own = self._own(stem, target, {**graph, **way.depends_on})
        return PlannedCell(
            id=f"{name}/{called}{_behind(target)}",
            backend=target.name,
            precision="int8",
            calibset=None,
            method=GIVEN,
            engine=self.folder / "engines" / f"{shared}.onnx" if way.given == "qdq" else None,
            scales=self.folder / "scales" / f"{shared}.json",
            built=self.folder / "engines" / f"{own}.engine",
            predictions=self._predictions(own),
            given=way.given,
            role=self.config.role_of(name, exemption),
            ranges_by=table.ranges_by,
            given_ranges=name,
            exemption=exemption,
            float_ops=left,
        )

    def foreign(self, name: str, part: ForeignPart) -> PlannedCell:
        """An engine that somebody else made."""
        entry = self.config.engines[name]
        target = self.config.target_of(entry)
        depends = {**self.base, "file": part.fingerprint, "kernels": entry.kernels}
        stem = f"engine-{slug(name)}"
        if target is None:
            own = f"{stem}-{content_key(depends)}"
        else:
            own = self._own(stem, target, depends)
        return PlannedCell(
            id=name if target is None else f"{name}{_behind(target)}",
            backend=ELSEWHERE if target is None else target.name,
            precision="int8" if part.int8 else "unknown",
            calibset=None,
            method=None,
            engine=None,
            scales=None,
            built=self.folder / "engines" / f"{own}.engine",
            predictions=self.folder / "predictions" / f"{own}.h5",
            role=entry.role or "candidate",
            float_ops=part.float_ops,
            foreign=name,
        )

    def alone(self, target: Target, precision: Precision) -> PlannedCell:
        """An engine without ranges."""
        own = self._own(precision, target, {**self.base, "precision": precision})
        return PlannedCell(
            id=f"{precision}{_behind(target)}",
            backend=target.name,
            precision=precision,
            calibset=None,
            method=None,
            engine=None,
            scales=None,
            built=self.folder / "engines" / f"{own}.engine",
            predictions=self._predictions(own),
        )

    def _predictions(self, own: str) -> Path:
        """An engine's file; what it keeps of the outputs is part of the name."""
        kept = f"-{content_key(self.kept)}" if self.kept else ""
        return self.folder / "predictions" / f"{own}{kept}.h5"

    def _own(self, stem: str, target: Target, graph: Mapping[str, object]) -> str:
        """Name of what is made on a target: of two that are alike each has its own.

        Else two machines with one release and one GPU would be compared by one machine's files.
        """
        named = {"target": target.name} if target.named else {}
        key = content_key({**graph, **named, "backend": self.backends[target.name]})
        return f"{stem}-{key}" if target.name == DEFAULT else f"{stem}-{target.name}-{key}"


def _behind(target: Target) -> str:
    return "" if target.name == DEFAULT else f"/{target.name}"
