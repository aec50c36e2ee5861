"""``calaudit slices``: how many samples each slice holds, labels, and what it can prove."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from calaudit.cli.flags import ByFlags, CrossFlags, WhereFlags, read_dimensions, renamed_flag
from calaudit.cli.output import print_notes, text_columns
from calaudit.runtime.errors import Notice, SettingsError, SliceError, near

if TYPE_CHECKING:
    import polars as pl

    from calaudit.runtime.pool import Pool, Rows
    from calaudit.slices.sliceset import SliceSet, SliceSummary
    from calaudit.statistics.power import SlicePower

_MOST_LABEL_COLUMNS = 12
_WIDEST_LABEL = 8
_SHOWN_LABELS = 3
_MOST_MARKED = 3
_DEFAULT_LABEL = "label"


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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    cluster: Annotated[str | None, renamed_flag("--cluster", "--cluster-by")] = None,
) -> None:
    """Print the size, share, support and label mix of every slice of a pool.

    With a gate: the minimum detectable drop of each slice, and its required sample size.
    """
    dimensions = read_dimensions(by, where, cross, min_support=min_support)
    from calaudit.formats.pool import open_pool
    from calaudit.slices.evaluate import evaluate_slices, select_rows

    with open_pool(pool) as opened:
        rows = None if within is None else select_rows(within, opened, where="--within")
        slices = evaluate_slices(dimensions, opened, where="slices")
        if rows is not None:
            slices = slices.take(rows)
        column = _label_column(opened, label)
        labels = None if column is None else opened.columns([column], rows).to_series()
        power = _power(
            opened, slices, rows, max_drop=max_drop, flip_rate=flip_rate, cluster_by=cluster_by
        )
    summaries, notices = _describe(slices, labels, asked=label is not None)
    if as_json:
        content = {
            "pool": str(pool),
            "within": within,
            "n_rows": slices.n_rows,
            "label": column,
            "slices": _records(summaries, power),
            "notices": [asdict(notice) for notice in notices],
        }
        print(json.dumps(content, indent=2, ensure_ascii=False))
        return
    print_notes(notices)
    if power is not None:
        print(power_table(summaries, power, max_drop or 0.0, flip_rate))
        return
    print(_table(summaries, column))


def _power(
    pool: "Pool",
    slices: "SliceSet",
    rows: "Rows | None",
    *,
    max_drop: float | None,
    flip_rate: float,
    cluster_by: str | None,
) -> "dict[str, SlicePower] | None":
    """What every slice can prove; None without a gate."""
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
    import numpy as np

    from calaudit.statistics.power import slice_power
    from calaudit.steps.clusters import cluster_codes

    codes = None
    if cluster_by is not None:
        chosen = np.arange(len(pool), dtype=np.int64) if rows is None else rows
        codes = cluster_codes(cluster_by.split(","), pool, chosen, where="--cluster-by")
    return slice_power(slices, max_drop, flip_rate=flip_rate, clusters=codes)


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
