"""What an audit is: the TOML file, read strictly, with paths relative to the file itself."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from calaudit.audit.bench_entry import BenchConfig, read_bench
from calaudit.audit.entries import CalibsetEntry, ScalesFile, name_problems, read_entry, read_scales
from calaudit.audit.exemptions import Exemption, exemption_problems, read_exemption
from calaudit.audit.foreign_entry import ELSEWHERE, EngineFile, engine_name_problems, read_engine
from calaudit.audit.gate_entry import GateSettings
from calaudit.backends.base import DEFAULT, Int8
from calaudit.backends.targets import AuditTable, Target, read_targets
from calaudit.calibration.batching import DEFAULT_SIZE, Batching, SampleOrder
from calaudit.calibration.methods import CALLED, ENTROPY_TRT
from calaudit.runtime.errors import Problem, SettingsError, near
from calaudit.runtime.settings import keys_of, meant_in, parse_settings, read_toml, setting
from calaudit.sampling.recipe import Role
from calaudit.slices.dimension import Dimension
from calaudit.tasks.base import Task
from calaudit.tasks.reading import parse_task

T = TypeVar("T")
Method = Literal["minmax", "entropy", "percentile", "mse", "entropy-trt"]
METHODS: tuple[Method, ...] = ("minmax", "entropy", "percentile", "mse")

_NEEDED = ("audit", "slices", "calibsets", "tasks")
_TABLES = (*_NEEDED, "scales", "engines", "gates", "targets", "exemptions", "bench")
_IN_PLACE_OF_SETS = ("scales", "engines")


@setting(
    renamed={"cluster": "cluster_by"},
    meant={"draws": "replicates", "repeats": "replicates", **CALLED},
)
class AuditSettings:
    """The ``[audit]`` table, without the keys of backends."""

    name: str
    model: str
    """Path of the ONNX model, relative to the audit file."""
    pool: str
    """Path of the pool, relative to the audit file."""
    evaluate: str
    """SQL predicate: the samples every engine is judged on."""
    calibrate: str | None = None
    """SQL predicate: the samples recipes may draw from, when they don't say themselves."""
    tune: str | None = None
    """SQL predicate: the tuning rows, by which ranges are chosen and explained. Default: those of
    `calibrate`, else all that aren't evaluated."""
    tune_samples: int = 2048
    """Tuning rows that are observed at most."""
    seed: int = 0
    methods: tuple[Method, ...] = METHODS
    backend: str = DEFAULT
    """What runs the FP32 reference and the engines that are judged: a backend or a target."""
    precisions: tuple[Literal["int8", "fp16"], ...] = ("int8",)
    float_ops: tuple[str, ...] = ()
    """Products that every INT8 engine leaves in float: names of nodes, or patterns of them."""
    agree_with: tuple[str, ...] = ()
    """Backends and targets that run the same engines, FP32 included, to be compared with
    `backend`."""
    batch_size: int = 64
    keep_outputs: bool = False
    """Keep all that engines give, beside what tasks make of it."""
    calibration_batch: int = DEFAULT_SIZE
    """Samples per batch where ranges depend on the batches: TensorRT's own calibrators, and
    ``entropy-trt``."""
    calibration_order: SampleOrder = "mixed"
    """How these batches are taken from a calibration set: from all of it, or as it is stored."""
    level: float = 0.95
    """Two-sided confidence level of the intervals."""
    cluster_by: str | tuple[str, ...] = ()
    """Columns; samples equal in all of them belong together: a speaker's, a user's, an image's."""
    pictures: int = 12
    """Samples to picture per metric, at most; 0: none, and no sample leaves the pool."""
    replicates: int = 1
    """Times each recipe is drawn: 2 or more give the between-draw SD."""
    relative_to: str | None = None
    """Folder that paths in the file are relative to, from the file's own, which is the default."""

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        if not self.name.strip():
            raise SettingsError("name is empty", next_step="Give the audit a name.")
        if len(set(self.methods)) < len(self.methods):
            raise SettingsError("methods names one twice", next_step="Name each method once.")
        if not self.methods:
            raise SettingsError("methods is empty", next_step=f"Name some of {', '.join(METHODS)}.")
        for name in ("batch_size", "tune_samples", "calibration_batch"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be at least 1 (got {getattr(self, name)})")
        if not 0 <= self.seed < 2**63:
            raise SettingsError(f"seed must lie between 0 and 2^63 - 1 (got {self.seed})")
        if not 0 <= self.pictures <= 1000:
            raise SettingsError(f"pictures must lie between 0 and 1000 (got {self.pictures})")
        if not 1 <= self.replicates <= 100:
            raise SettingsError(f"replicates must lie between 1 and 100 (got {self.replicates})")
        if not 0.5 < self.level <= 0.9999:
            raise SettingsError(f"level must lie between 0.5 and 0.9999 (got {self.level})")
        self._check_backends()

    def _check_backends(self) -> None:
        if not self.precisions:
            raise SettingsError("precisions is empty", next_step="Name int8, fp16 or both.")
        if self.backend in self.agree_with or len(set(self.agree_with)) < len(self.agree_with):
            raise SettingsError(
                f"agree_with names a backend twice: {self.backend}, {', '.join(self.agree_with)}",
                next_step="Name backends and targets other than the audit's own, once each.",
            )

    @property
    def batching(self) -> Batching:
        """`calibration_batch` and `calibration_order`; the last batch is filled."""
        return Batching(self.calibration_batch, order=self.calibration_order)

    @property
    def counts_again(self) -> bool:
        """Whether ranges take a second pass over the calibration samples."""
        return ENTROPY_TRT in self.methods and "int8" in self.precisions

    @property
    def cluster_columns(self) -> tuple[str, ...]:
        """`cluster_by`, as columns."""
        return (self.cluster_by,) if isinstance(self.cluster_by, str) else self.cluster_by


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """A whole audit file."""

    path: Path
    audit: AuditSettings
    dimensions: tuple[Dimension, ...]
    calibsets: Mapping[str, CalibsetEntry]
    """By name, in the file's order."""
    tasks: tuple[Task, ...]
    gates: tuple[GateSettings, ...]
    exemptions: tuple[Exemption, ...]
    raw: Mapping[str, Any]
    """The file as read, for the report."""
    targets: Mapping[str, Target]
    """By name: ``[[targets]]``, the backends that it runs on, and the default one."""
    scales: Mapping[str, ScalesFile] = field(default_factory=dict)
    """Ranges that are given, by name, in the file's order."""
    methods_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Calibration set → methods tried on it, where those aren't all."""
    engines: Mapping[str, EngineFile] = field(default_factory=dict)
    """Engines that somebody else made, by name, in the file's order."""
    bench: BenchConfig = field(default_factory=BenchConfig)

    @property
    def columns(self) -> tuple[Target, ...]:
        """What it runs on: the audit's own, then those that are to agree with it."""
        return tuple(self.targets[n] for n in (self.audit.backend, *self.audit.agree_with))

    @property
    def used(self) -> tuple[Target, ...]:
        """The columns, then what else runs engines that somebody else made."""
        others = filter(None, map(self.target_of, self.engines.values()))
        return tuple({target.name: target for target in (*self.columns, *others)}.values())

    def target_of(self, engine: EngineFile) -> Target | None:
        """What runs an engine that somebody else made; None where its answers are given."""
        return None if engine.kind == "answers" else self.targets[engine.target or DEFAULT]

    @property
    def unused(self) -> tuple[Target, ...]:
        """``[[targets]]`` that it doesn't run on."""
        used = self.used
        return tuple(t for t in self.targets.values() if t.named and t not in used)

    def role_of(self, name: str, exemption: str | None = None) -> Role:
        """What a set, or given ranges, are there for: candidates unless the file says otherwise.

        With an exemption what their engines are that leave its products in float.
        """
        entry = self.calibsets[name] if name in self.calibsets else self.scales[name]
        own = next((each.role for each in self.exemptions if each.name == exemption), None)
        return own or entry.role or "candidate"

    def ways(self, target: Target, calibset: str | None = None) -> list[Int8]:
        """How a target gets INT8 engines; with `calibset`, of that set alone."""
        settings = self.audit
        ways = target.kind.int8(target.settings, settings.methods, settings.batching)
        tried = None if calibset is None else self.methods_of.get(calibset)
        return [way for way in ways if tried is None or way.method in tried]

    def resolve(self, path: str) -> Path:
        """`path` as the audit file means it, by the shortest way: no ``audits/../model.onnx``."""
        joined = self.base / path
        plain = Path(os.path.normpath(joined))
        # behind a symbolic link ".." leads elsewhere
        return plain if plain.resolve() == joined.resolve() else joined

    @property
    def base(self) -> Path:
        """What paths in the file are relative to."""
        return self.path.parent / (self.audit.relative_to or "")

    @property
    def folder(self) -> Path:
        """Where results lie: the audit file's own path without its suffix."""
        return self.path.with_suffix("")


def read_audit(path: Path) -> AuditConfig:
    """Read an audit file.

    Raises
    ------
    SettingsError
        With every problem found, each with its place in the file.
    """
    path = Path(path)
    raw = read_toml(path)
    problems = [
        Problem("unknown key", f"{path}: {key}", near(key, _TABLES))
        for key in raw
        if key not in _TABLES
    ]
    problems += [
        Problem(
            f"{'[audit]' if key == 'audit' else f'[[{key}]]'} is missing",
            str(path),
            "Add it; see docs/audit.md, or let `calaudit init MODEL POOL` write a first file.",
        )
        for key in _NEEDED
        if not raw.get(key) and not (key == "calibsets" and any(map(raw.get, _IN_PLACE_OF_SETS)))
    ]
    if problems:
        raise SettingsError.of(problems)

    found: list[Problem] = []
    tables = _each(found, raw, "targets", path, lambda v, at: v)
    engines = _each(found, raw, "engines", path, lambda v, at: read_engine(v, path, at))
    audit, targets = _audit_table(found, raw["audit"], tables, engines, path)
    dimensions = _each(
        found, raw, "slices", path, lambda v, at: parse_settings(v, Dimension, where=path, at=at)
    )
    base = path.parent / ((audit and audit.relative_to) or "")
    sets = _each(found, raw, "calibsets", path, lambda v, at: read_entry(v, path, at, base))
    scales = _each(found, raw, "scales", path, lambda v, at: read_scales(v, path, at))
    tasks = _each(found, raw, "tasks", path, lambda v, at: parse_task(v, where=path, at=at))
    gates = _each(
        found, raw, "gates", path, lambda v, at: parse_settings(v, GateSettings, where=path, at=at)
    )
    exemptions = _each(found, raw, "exemptions", path, lambda v, at: read_exemption(v, path, at))
    found += name_problems([name for name, *_ in sets], path, "calibsets")
    found += name_problems([name for name, _ in scales], path, "scales")
    named = [*(name for name, *_ in sets), *(name for name, _ in scales)]
    found += engine_name_problems([name for name, _ in engines], named, path)
    if found or audit is None:
        raise SettingsError.of(found)
    config = AuditConfig(
        path=path,
        audit=audit,
        dimensions=tuple(dimensions),
        calibsets={name: entry for name, entry, _ in sets},
        tasks=tuple(tasks),
        gates=tuple(gates),
        exemptions=tuple(exemptions),
        raw=raw,
        targets=targets,
        scales=dict(scales),
        methods_of={name: methods for name, _, methods in sets if methods is not None},
        engines=dict(engines),
    )
    found += _engine_problems(config)
    bench = _collect(found, lambda: read_bench(raw.get("bench"), config.used, path))
    if found or bench is None:
        raise SettingsError.of(found)
    return replace(config, bench=bench)


def _engine_problems(config: AuditConfig) -> Iterator[Problem]:
    """Names that sets and given ranges share, methods that nothing offers, wrong exemptions."""
    where = f"{config.path}: calibsets"
    for name in config.scales:
        if name in config.calibsets:
            message = f"a calibration set is called {name!r} as well"
            yield Problem(message, f"{config.path}: scales", "Rename one.")
    ways = [way for target in config.columns for way in config.ways(target)]
    offered = list(dict.fromkeys(way.method for way in ways))
    for name, methods in config.methods_of.items():
        for method in methods:
            if method not in offered:
                message = f"{name}: {method!r} isn't among the audit's methods"
                yield Problem(message, where, near(method, offered, meant=CALLED))
    yield from exemption_problems(
        config.exemptions,
        config.audit.float_ops,
        int8="int8" in config.audit.precisions,
        sets=[*config.calibsets, *config.scales],
        path=config.path,
    )


def _audit_table(
    found: list[Problem],
    values: Any,
    tables: Sequence[Mapping[str, Any]],
    engines: Sequence[tuple[str, EngineFile]],
    path: Path,
) -> tuple[AuditSettings | None, dict[str, Target]]:
    """The ``[audit]`` table: the audit's own keys, and those of the targets it runs on."""
    read = partial(parse_settings, cls=AuditSettings, where=path, at="audit")
    if not isinstance(values, Mapping):
        return _collect(found, lambda: read(values)), {}
    own, meant = keys_of(AuditSettings), meant_in(AuditSettings)
    audit = _collect(found, lambda: read({k: v for k, v in values.items() if k in own}))
    if audit is None:
        return None, {}
    used = {"audit.backend": (audit.backend,), "audit.agree_with": audit.agree_with}
    used["engines"] = tuple(each.target for _, each in engines if each.target is not None)
    base = path.parent / (audit.relative_to or "")
    table = AuditTable(values, own, used, path, base, meant)
    reserved = (*get_args(Method), ELSEWHERE)
    targets = _collect(found, lambda: read_targets(table, tables, reserved=reserved)) or {}
    for target in targets.values():
        if target.name in (audit.backend, *audit.agree_with, DEFAULT):
            ways = target.kind.int8(target.settings, audit.methods, audit.batching)
            place = target.where if target.named else f"{path}: audit"
            _collect(found, partial(_located, ways, place))
    return audit, targets


def _located(ways: Iterable[Int8], place: str) -> None:
    """Raise what keeps a backend from these ways to INT8, with its place."""
    try:
        list(ways)
    except SettingsError as error:
        raise SettingsError.of(replace(p, where=place) for p in error.problems) from None


def _collect(found: list[Problem], read: Callable[[], T]) -> T | None:
    try:
        return read()
    except SettingsError as error:
        found += error.problems
        return None


def _each(
    found: list[Problem],
    raw: Mapping[str, Any],
    key: str,
    path: Path,
    read: Callable[[Mapping[str, Any], str], T],
) -> list[T]:
    values = raw.get(key, [])
    if not isinstance(values, Sequence) or not all(isinstance(v, Mapping) for v in values):
        found.append(Problem("must be an array of tables", f"{path}: {key}", f"Write [[{key}]]."))
        return []
    made = []
    for number, value in enumerate(values):
        one = _collect(found, partial(read, value, f"{key}[{number}]"))
        if one is not None:
            made.append(one)
    return made
