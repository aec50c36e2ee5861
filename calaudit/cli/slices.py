"""``calaudit slices``: how many samples each slice holds, labels, and what it can prove."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from calaudit.cli.flags import ByFlags, CrossFlags, WhereFlags, read_dimensions, renamed_flag
from calaudit.cli.output import print_notes, text_columns
from calaudit.runtime.errors import Notice, SettingsError, SliceError, near

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from calaudit.runtime.pool import Pool, Rows
    from calaudit.slices.objects import ObjectSlices
    from calaudit.slices.sliceset import SliceSet, SliceSummary
    from calaudit.statistics.power import SlicePower

_MOST_LABEL_COLUMNS = 12
_WIDEST_LABEL = 8
_SHOWN_LABELS = 3
_MOST_MARKED = 3
_DEFAULT_LABEL = "label"
_CLASS = "class"


def power_table(
    summaries: Sequence["SliceSummary"],
    power: Mapping[str, "SlicePower"],
    max_drop: float,
    flip_rate: float,
) -> str:
    """One row per slice: its size, the minimum detectable drop, the required sample size."""
    clustered = any(each.n_independent != each.n for each in power.values())
    counted = ["independent"] if clustered else []
    rows = [
        [
            "slice",
            "n",
            *counted,
            "min. detectable drop",
            f"at {100 * max_drop:g} points",
            "required n",
        ]
    ]
    for each in summaries:
        one = power[each.name]
        least = one.smallest_provable_drop
        proves = "nothing" if least is None else f"{100 * least:.1f} points"
        enough = "enough" if one.enough else "too few"
        needs = "–" if one.n_needed is None else f"{one.n_needed:,}"
        independent = [f"{one.n_independent:,.0f}"] if clustered else []
        rows.append([each.name, f"{each.n:,}", *independent, proves, enough, needs])
    note = (
        f"For a right/wrong score, at 80 % power, if the engine does no harm and flips "
        f"{100 * flip_rate:g} % of the answers."
    )
    return f"{text_columns(rows, left=frozenset({0, 4 if clustered else 3}))}\n{note}"


app = typer.Typer(add_completion=False)


@app.command(
    "slices", epilog="Example:  calaudit slices pool.h5 --by snr_db:edges=0,5,10 --by speaker"
)
def slices_command(
    pool: Annotated[Path, typer.Argument(metavar="POOL", help="Pool file (HDF5).")],
    *,
    by: ByFlags = None,
    where: WhereFlags = None,
    cross: CrossFlags = None,
    label: Annotated[
        str | None,
        typer.Option(
            "--label", metavar="COLUMN", help='Column of the label mix; default "label", if any.'
        ),
    ] = None,
    within: Annotated[
        str | None,
        typer.Option("--within", metavar="SQL", help="Count only samples that meet a predicate."),
    ] = None,
    min_support: Annotated[
        int | None,
        typer.Option(
            "--min-support", min=1, help="Minimum support of a slice, in samples (default 30)."
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            "--max-drop",
            help="A gate: show each slice's minimum detectable drop and required sample size.",
        ),
    ] = None,
    flip_rate: Annotated[
        float,
        typer.Option(
            "--flip-rate",
            help="With --max-drop: share of samples that a harmless engine flips.",
            min=0,
            max=1,
        ),
    ] = 0.05,
    cluster_by: Annotated[
        str | None,
        typer.Option(
            "--cluster-by",
            metavar="COLUMN,…",
            help="With --max-drop: samples equal in these columns count as one.",
        ),
    ] = None,
    objects: Annotated[
        str | None,
        typer.Option(
            "--objects",
            metavar="TARGET",
            help="Whose columns object.… are, where the pool has several targets of objects.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    cluster: Annotated[str | None, renamed_flag("--cluster", "--cluster-by")] = None,
) -> None:
    """Print the size, share, support and label mix of every slice of a pool.

    With a gate: the minimum detectable drop of each slice, and its required sample size. Slices by
    columns of objects (object.class, object.size, …) follow in a table of their own.
    """
    dimensions = read_dimensions(by, where, cross, min_support=min_support)
    gate = _gate(max_drop, flip_rate, cluster_by)
    import numpy as np

    from calaudit.formats.pool import open_pool
    from calaudit.slices.evaluate import select_rows
    from calaudit.slices.objects import slice_pool

    with open_pool(pool) as opened:
        whole = slice_pool(dimensions, opened, where="slices")
        every = np.arange(len(opened), dtype=np.int64)
        rows = every if within is None else select_rows(within, opened, where="--within")
        slices = whole.samples if within is None else whole.samples.take(rows)
        column = _label_column(opened, label)
        labels = None if column is None else opened.columns([column], rows).to_series()
        codes = None if gate is None else gate.clusters(opened, rows)
        power = None if gate is None else gate.power(slices, codes)
        of_objects = _of_objects(whole, objects, rows, codes, gate)
    summaries, notices = _describe(slices, labels, asked=label is not None)
    if as_json:
        content: dict[str, Any] = {
            "pool": str(pool),
            "within": within,
            "n_rows": slices.n_rows,
            "label": column,
            "slices": _records(summaries, power),
            "notices": [asdict(notice) for notice in notices],
        }
        if of_objects is not None:
            content["objects"] = of_objects.record()
        print(json.dumps(content, indent=2, ensure_ascii=False))
        return
    told = notices if of_objects is None else [*notices, *of_objects.notices]
    print_notes(list(dict.fromkeys(told)))
    print(_shown(summaries, column, power, gate))
    if of_objects is not None:
        print(f"\nobjects of {of_objects.target}\n")
        print(_shown(of_objects.summaries, _CLASS, of_objects.power, gate))


@dataclass(frozen=True, slots=True)
class _Gate:
    """What slices are to prove."""

    max_drop: float
    flip_rate: float
    cluster_by: str | None

    def clusters(self, pool: "Pool", rows: "Rows") -> "NDArray[np.int64] | None":
        """Which samples belong together."""
        from calaudit.steps.clusters import cluster_codes

        if self.cluster_by is None:
            return None
        return cluster_codes(self.cluster_by.split(","), pool, rows, where="--cluster-by")

    def power(
        self, slices: "SliceSet", clusters: "NDArray[np.int64] | None"
    ) -> "dict[str, SlicePower]":
        """What every slice can prove."""
        from calaudit.statistics.power import slice_power

        return slice_power(slices, self.max_drop, flip_rate=self.flip_rate, clusters=clusters)


def _gate(max_drop: float | None, flip_rate: float, cluster_by: str | None) -> _Gate | None:
    if max_drop is None:
        if cluster_by is not None:
            raise SettingsError(
                "--cluster-by needs a gate", where="--cluster-by", next_step="Add --max-drop 0.01."
            )
        return None
    if not 0 < max_drop < 1:
        raise SettingsError(
            f"--max-drop must lie between 0 and 1 (got {max_drop})",
            where="--max-drop",
            next_step="Give the drop that is tolerable: 0.01 is one point.",
        )
    return _Gate(max_drop, flip_rate, cluster_by)


@dataclass(frozen=True, slots=True)
class _OfObjects:
    """Slices of objects."""

    target: str
    summaries: Sequence["SliceSummary"]
    power: "Mapping[str, SlicePower] | None"
    notices: Sequence[Notice]

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "target": self.target,
            "n": self.summaries[0].n,
            "slices": _records(self.summaries, self.power),
            "notices": [asdict(notice) for notice in self.notices],
        }


def _of_objects(
    whole: "ObjectSlices",
    target: str | None,
    rows: "Rows",
    codes: "NDArray[np.int64] | None",
    gate: _Gate | None,
) -> _OfObjects | None:
    """Slices of the objects of some samples; None where none is asked for.

    Objects of a sample count as one with a gate, and so do those of a cluster of samples.
    """
    if not whole.of_objects and target is None:
        return None
    import polars as pl

    from calaudit.slices.objects import is_unit

    name = _target(whole.pool, target)
    slices = whole.over(name, rows)
    objects = whole.pool.read_objects(name, rows)
    units = is_unit(objects)
    classes = pl.Series(list(objects.classes), dtype=pl.String).gather(objects.label[units])
    image = objects.image[units]
    power = None if gate is None else gate.power(slices, image if codes is None else codes[image])
    summaries, notices = _describe(slices, classes.alias(_CLASS), asked=False)
    return _OfObjects(name, summaries, power, notices)


def _target(pool: "Pool", asked: str | None) -> str:
    known = list(pool.objects)
    if asked in known:
        return str(asked)
    if asked is None and len(known) == 1:
        return known[0]
    if not known:
        raise SliceError(
            "the pool has no objects",
            where=pool.label,
            next_step="Import images with their boxes: calaudit pool import annotations.json OUT.",
        )
    raise SliceError(
        f"the pool has no objects {asked!r}"
        if asked is not None
        else f"the pool has {len(known)} targets of objects ({', '.join(known)})",
        where="--objects",
        next_step=near(asked or "", known),
    )


def _shown(
    summaries: Sequence["SliceSummary"],
    label: str | None,
    power: "Mapping[str, SlicePower] | None",
    gate: _Gate | None,
) -> str:
    if power is None or gate is None:
        return _table(summaries, label)
    return power_table(summaries, power, gate.max_drop, gate.flip_rate)


def _records(
    summaries: Sequence["SliceSummary"], power: "Mapping[str, SlicePower] | None"
) -> list[dict[str, Any]]:
    """Each slice for JSON, with what it can prove where a gate is given."""
    if power is None:
        return [asdict(each) for each in summaries]
    return [asdict(each) | asdict(power[each.name]) for each in summaries]


def _label_column(pool: "Pool", asked: str | None) -> str | None:
    known = pool.column_names()
    if asked is not None and asked not in known:
        raise SliceError(f'no column "{asked}"', where="--label", next_step=near(asked, known))
    return asked or (_DEFAULT_LABEL if _DEFAULT_LABEL in known else None)


def _describe(
    slices: "SliceSet", labels: "pl.Series | None", *, asked: bool
) -> tuple[list["SliceSummary"], list[Notice]]:
    """Summaries and notices; labels that weren't asked for are left out when they have no mix."""
    from calaudit.slices.sliceset import describe_slices

    try:
        return describe_slices(slices, labels), list(slices.notices)
    except SliceError as error:
        if asked:
            raise
        message = f"no label mix: {error.problems[0].message}"
        return describe_slices(slices), [*slices.notices, Notice("label_mix_skipped", message)]


def _table(summaries: Sequence["SliceSummary"], label: str | None) -> str:
    labels = list(summaries[0].label_mix)
    wide = len(labels) > _MOST_LABEL_COLUMNS or any(len(text) > _WIDEST_LABEL for text in labels)
    headings = [f"{label} mix"] if wide else [f"{label} {text}" for text in labels[:1]] + labels[1:]
    rows = [["slice", "n", "share", "support", *headings]]
    least = min((each.n for each in summaries[1:]), default=-1)
    marked = [each for each in summaries[1:] if each.n == least]
    for each in summaries:
        mix = [_largest(each)] if wide else [_percent(each.label_mix.get(x, 0)) for x in labels]
        support = "ok" if each.support_ok else f"thin, needs {each.min_support:,}"
        mark = " ← least" if each in marked and len(marked) <= _MOST_MARKED else ""
        rows.append([each.name, f"{each.n:,}", f"{each.share:.1%}", support + mark, *mix])
    return text_columns(rows, left=frozenset({0, 3, 4} if wide else {0, 3}))


def _percent(share: float) -> str:
    return "·" if share == 0 else f"{share:.0%}" if share >= 0.005 else "<1%"


def _largest(summary: "SliceSummary") -> str:
    mix = sorted(summary.label_mix.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{text} {_percent(share)}" for text, share in mix[:_SHOWN_LABELS])
    rest = len(mix) - _SHOWN_LABELS
    return shown if rest <= 0 else f"{shown}, {rest} more"
