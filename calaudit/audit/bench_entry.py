"""``[bench]`` of an audit file: how engines are benched, and in which ``[[bench.variants]]``.

A variant is a target's settings with other values of some keys: compiler knobs, threads.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from calaudit.audit.keys import content_key, slug
from calaudit.backends.registry import backend_kinds
from calaudit.backends.targets import Target
from calaudit.runtime.errors import Problem, SettingsError, near
from calaudit.runtime.settings import keys_of, parse_settings, setting

_OWN: Final = ("name", "target")
_FORBIDDEN: Final = "/+#"


@setting(meant={"batch": "batches", "repeats": "rounds", "warmup": "warm_up", "knobs": "variants"})
class BenchTable:
    """The ``[bench]`` table, but for its variants."""

    batches: tuple[int, ...] = ()
    """Batches that latency is measured at; default: 1 and the audit's batch_size."""
    streams: tuple[int, ...] = (1,)
    """Batches that are under way at a time, for throughput."""
    rounds: int = 12
    """Rounds: in each, every engine is timed once, in an order that is shuffled anew."""
    seconds: float = 0.1
    """How long an engine is timed in one round, at one batch."""
    warm_up: float = 2.0
    """Seconds that an engine may take to warm up, at most."""
    cells: tuple[str, ...] = ()
    """Names or patterns of cells; default: all that were judged, of several draws one."""
    layers: bool = True
    """Whether layers are timed, where an engine tells of them."""

    def __post_init__(self) -> None:
        """Refuse what can't be measured."""
        for name in ("batches", "streams"):
            values = getattr(self, name)
            if any(not 1 <= each <= 1 << 20 for each in values) or len({*values}) < len(values):
                raise SettingsError(
                    f"{name} must be numbers from 1 on, once each (got {list(values)})"
                )
        if not self.streams:
            raise SettingsError("streams is empty", next_step="Name 1, or leave it out.")
        if not 1 <= self.rounds <= 1000:
            raise SettingsError(f"rounds must lie between 1 and 1000 (got {self.rounds})")
        if not 0 < self.seconds <= 3600:
            raise SettingsError(f"seconds must lie above 0, up to 3600 (got {self.seconds:g})")
        if not 0 <= self.warm_up <= 3600:
            raise SettingsError(f"warm_up must lie between 0 and 3600 (got {self.warm_up:g})")


@dataclass(frozen=True, slots=True)
class Variant:
    """Other values of some keys of targets' settings."""

    name: str
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """Key → value, as the audit file has it."""
    target: str | None = None
    """The only target that it is for; None: for all that have its keys."""

    def fits(self, target: Target) -> bool:
        """Whether a target has the variant's keys."""
        named = self.target in {None, target.name}
        return named and set(self.knobs) <= keys_of(target.kind.settings)

    def applied(self, settings: Any, *, where: object = "", at: str = "") -> Any:
        """`settings` of a target that fits, with the variant's values; `where`: for messages."""
        made = parse_settings(self.knobs, type(settings), where=where, at=at)
        return replace(settings, **{key: getattr(made, key) for key in self.knobs})


def built_path(built: Path, cell: str, variant: Variant) -> Path:
    """Where a backend may keep a cell's engine under a variant: not in the audit's own place.

    Parameters
    ----------
    built : Path
        Where it keeps the audit's.
    cell : str
        Its id.
    variant : Variant
    """
    if not variant.name:
        return built
    key = content_key([built.stem, variant.name, dict(variant.knobs)])
    return built.with_name(f"bench-{slug(variant.name)}-{slug(cell)}-{key}.engine")


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """How an audit's engines are benched."""

    table: BenchTable = field(default_factory=BenchTable)
    variants: tuple[Variant, ...] = ()


def read_bench(values: Any, targets: Sequence[Target], path: Path) -> BenchConfig:
    """Read ``[bench]``.

    Parameters
    ----------
    values : any
        As TOML gives it; None where there is none.
    targets : sequence of Target
        That the audit runs on.
    path : Path
        The audit file.

    Raises
    ------
    SettingsError
        Unknown keys, wrong values, variants that no target has the keys of. All at once.
    """
    if values is None:
        return BenchConfig()
    if not isinstance(values, Mapping):
        raise SettingsError("must be a table", where=f"{path}: bench", next_step="Write [bench].")
    own = {key: value for key, value in values.items() if key != "variants"}
    problems: list[Problem] = []
    table = BenchTable()
    try:
        table = parse_settings(own, BenchTable, where=path, at="bench")
    except SettingsError as error:
        problems += error.problems
    listed = values.get("variants", [])
    if not isinstance(listed, list) or not all(isinstance(each, Mapping) for each in listed):
        step = "Write [[bench.variants]]."
        problems.append(Problem("must be an array of tables", f"{path}: bench.variants", step))
        listed = []
    variants: list[Variant] = []
    for number, each in enumerate(listed):
        at = f"bench.variants[{number}]"
        place = f"{path}: {at}"
        variant = Variant(
            str(each.get("name", "")),
            {key: value for key, value in each.items() if key not in _OWN},
            each.get("target"),
        )
        problems += _misfits(variant, each, targets, (path, at))
        if variant.name in {other.name for other in variants}:
            problems.append(Problem(f"two are called {variant.name!r}", place, "Rename one."))
        variants.append(variant)
    if problems:
        raise SettingsError.of(problems)
    return BenchConfig(table, tuple(variants))


def _misfits(
    variant: Variant, given: Mapping[str, Any], targets: Sequence[Target], of: tuple[Path, str]
) -> Iterator[Problem]:
    where, at = of
    place = f"{where}: {at}"
    name = given.get("name")
    if not isinstance(name, str) or not name.strip() or any(each in name for each in _FORBIDDEN):
        message = f"needs a name without any of {' '.join(_FORBIDDEN)} (got {name!r})"
        yield Problem(message, place, 'Add name = "…".')
    if not variant.knobs:
        yield Problem("changes nothing", place, "Give it keys of the target, such as threads = 1.")
        return
    known = [target.name for target in targets]
    if variant.target is not None and variant.target not in known:
        message = f"the audit runs on no target {variant.target!r}"
        yield Problem(message, f"{place}.target", near(str(variant.target), known))
        return
    mine = [each for each in targets if variant.target in {None, each.name}]
    keys = {each.name: keys_of(each.kind.settings) for each in mine}
    for key in variant.knobs:
        if not any(key in found for found in keys.values()):
            yield _unknown(key, mine, f"{place}.{key}")
            return
    fitting = [each for each in mine if variant.fits(each)]
    if not fitting:
        message = f"no target has all of {', '.join(variant.knobs)}"
        yield Problem(message, place, "Make a variant for each target.")
    for target in fitting:
        try:
            settings = target.kind.served(target.settings)
            variant.applied(settings, where=where, at=at)
        except SettingsError as error:
            yield from error.problems


def _unknown(key: str, targets: Sequence[Target], where: str) -> Problem:
    """What to say of a key that no target of the audit has."""
    names = ", ".join(target.name for target in targets)
    owners = [name for name, kind in backend_kinds().items() if key in keys_of(kind.settings)]
    if owners:
        message = f"{key} is for {' or '.join(owners)}, and this audit runs on {names}"
        return Problem(message, where, "Leave it out, or audit on a target that has it.")
    known = {each.name for target in targets for each in fields(target.kind.settings)}
    return Problem("unknown key", where, near(key, sorted(known)))
