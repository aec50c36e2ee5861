"""``calaudit pool``: show what a pool holds, make one from other files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calaudit.cli import pool_flags as flags
from calaudit.cli.output import print_notes, text_columns
from calaudit.runtime.errors import FileFormatError
from calaudit.runtime.progress import stage
from calaudit.runtime.words import counted, visible

if TYPE_CHECKING:
    from calaudit.formats.importers.annotated import Annotations
    from calaudit.formats.importers.annotated_settings import AnnotatedSettings
    from calaudit.formats.importers.samples import Imported
    from calaudit.steps.pool_summary import (
        ArraySummary,
        ColumnSummary,
        MaskSummary,
        ObjectsSummary,
        PoolSummary,
    )

app = typer.Typer(
    name="pool",
    help="Show what a pool holds, or make one.",
    no_args_is_help=True,
    add_completion=False,
)

_MOST_SHOWN = 10
_SHOWN_COUNTS = 6


@app.command("show", epilog="Example:  calaudit pool show pool.h5")
def show_command(
    pool: Annotated[Path, typer.Argument(metavar="POOL", help="Pool file (HDF5).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a pool's arrays, label counts, missing values, ranges and fingerprint."""
    with stage("starting"):
        from calaudit.formats.pool import open_pool
        from calaudit.steps.pool_summary import describe_pool

    with open_pool(pool) as opened:
        summary = describe_pool(opened)
        print_notes(opened.notices)
    if as_json:
        print(json.dumps(asdict(summary), indent=2, ensure_ascii=False))
    else:
        print(_shown(summary))


@app.command(
    "import",
    epilog="Example:  calaudit pool import photos.csv pool.h5 --input image=path --target label",
)
def import_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="COCO's annotations.json, YOLO's data.yaml, manifest.csv|.tsv|.parquet, data.npz, "
            "or module:function.",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The pool to write.")],
    *,
    input_: flags.InputFlags = None,
    target: flags.TargetFlags = None,
    mask: flags.MaskFlags = None,
    ignore: flags.IgnoreFlag = None,
    classes: flags.ClassesFlags = None,
    meta: flags.MetaFlags = None,
    item: flags.ItemFlags = None,
    ids: flags.IdsFlag = None,
    config: flags.ConfigFlag = None,
    kind: flags.KindFlag = None,
    size: flags.SizeFlag = None,
    fit: flags.FitFlag = None,
    images: flags.ImagesFlag = None,
    splits: flags.SplitsFlag = None,
    most: flags.MostFlags = None,
    channels: flags.ChannelsFlag = None,
    mean: flags.MeanFlag = None,
    std: flags.StdFlag = None,
    white: flags.WhiteFlag = None,
    layout: flags.LayoutFlag = None,
    dtype: flags.DtypeFlags = None,
    sample_rate: flags.RateFlag = None,
    length: flags.LengthFlag = None,
    as_bytes: flags.BytesFlag = False,
    outside: flags.OutsideFlag = False,
    compress: flags.CompressFlag = False,
) -> None:
    """Make a pool from COCO's or YOLO's annotations, a manifest, arrays, or a Python function."""
    roles = flags.RoleFlags(
        input=input_,
        target=target,
        mask=mask,
        ignore=ignore,
        classes=classes,
        meta=meta,
        item=item,
        ids=ids,
    )
    files = flags.FileFlags(
        config=config,
        kind=kind,
        size=size,
        fit=fit,
        images=images,
        splits=splits,
        most=most,
        channels=channels,
        mean=mean,
        std=std,
        white=white,
        layout=layout,
        dtype=dtype,
        sample_rate=sample_rate,
        length=length,
        as_bytes=as_bytes,
        outside=outside,
    )
    with stage("starting"):
        from calaudit.formats.leftovers import remove_leftovers

    print_notes(remove_leftovers(out))
    done = _import(source, out, roles, files, compress=compress)
    print_notes(done.notices)
    print(f"{visible(out)}: {counted(done.n, 'sample')}")


def _import(
    source: str, out: Path, roles: flags.RoleFlags, files: flags.FileFlags, *, compress: bool
) -> "Imported":
    with stage("starting"):
        from calaudit.cli.pool_settings import manifest_settings
        from calaudit.formats.importers.annotated import import_annotated
        from calaudit.formats.importers.generator import import_generator, is_reference
        from calaudit.formats.importers.manifest import import_manifest
        from calaudit.formats.importers.npz import import_npz

    path = Path(source)
    if path.suffix.lower() == ".npz":
        flags.refuse(files, source, known=["dtype"])
        dtypes = flags.asked_dtypes(files)
        named = flags.class_names(roles)
        return import_npz(
            path, out, flags.npz_roles(roles), dtypes=dtypes, classes=named, compress=compress
        )
    if is_reference(source) and not path.exists():
        flags.refuse(roles, source, known=["classes"])
        flags.refuse(files, source, known=["dtype"])
        dtypes = flags.asked_dtypes(files)
        named = flags.class_names(roles)
        return import_generator(source, out, dtypes=dtypes, classes=named, compress=compress)
    if not path.exists():  # before its columns are asked for
        raise FileFormatError("there is no such file", where=path, next_step="Check the path.")
    with stage("reading the annotations"):
        annotated = _annotated(path, roles, files)
    if annotated is not None:
        found, how = annotated
        return import_annotated(found, out, how, compress=compress)
    settings = manifest_settings(path, roles, files)
    return import_manifest(path, out, settings, compress=compress)


def _annotated(
    path: Path, roles: flags.RoleFlags, files: flags.FileFlags
) -> "tuple[Annotations, AnnotatedSettings] | None":
    """COCO's or YOLO's annotations and how to read them; None: it is something else."""
    from calaudit.cli.pool_settings import annotated_settings
    from calaudit.formats.importers import coco, yolo

    data = yolo.data_file(path) if path.is_dir() else path
    if data is not None and data.suffix.lower() in yolo.SUFFIXES:
        how = annotated_settings(data, roles, files)
        return yolo.read_yolo(data, how), how
    if path.is_dir() or path.suffix.lower() == ".json":
        coco.check_source(path)  # before its flags are read, which are those of boxes
        how = annotated_settings(path, roles, files)
        return coco.read_coco(path, how), how
    return None


def _shown(summary: "PoolSummary") -> str:
    head = f"{summary.pool}: {counted(summary.n, 'sample')}"
    if summary.n_items is not None:
        head += f", {summary.n_items:,} items"
    parts = [f"{head}\nfingerprint {summary.fingerprint}", _arrays(summary)]
    parts.append(_inputs(summary))
    parts += [_objects(each) for each in summary.objects]
    parts += [_masks(each) for each in summary.masks]
    masks = {each.name for each in summary.masks}
    parts += [
        _classes(target, names) for target, names in summary.classes.items() if target not in masks
    ]
    if summary.columns:
        parts.append(_columns("column", summary.columns))
    if summary.items:
        parts.append(_columns("item column", summary.items))
    return "\n\n".join(parts)


def _classes(target: str, names: "Sequence[str]") -> str:
    shown = names if len(names) <= _MOST_SHOWN else names[:_SHOWN_COUNTS]
    more = "" if len(shown) == len(names) else ", …"
    listed = ", ".join(map(visible, shown))
    return (
        f"{counted(len(names), 'class', 'classes')} of {target}, in the order of the "
        f"outputs: {listed}{more}"
    )


def _objects(objects: "ObjectsSummary") -> str:
    head = f"objects of {visible(objects.name)}: {objects.n:,}"
    if objects.n_crowds:
        head += f", of which {counted(objects.n_crowds, 'crowd')}"
    empty = counted(objects.n_empty, "sample has none", "samples have none")
    lines = [
        f"{head}; {empty}",
        f"  by class  {_tally(objects.classes)}",
        f"  by size   {_tally(objects.sizes)} (COCO's, by area)",
    ]
    table = [_columns("of each object", objects.columns)] if objects.columns else []
    return "\n".join([*lines, *table])


def _masks(masks: "MaskSummary") -> str:
    pixels = dict(masks.classes)
    if masks.ignored is not None:
        pixels["(ignored)"] = masks.ignored
    total = max(1, sum(pixels.values()))
    shares = {name: f"{100 * n / total:.3g} %" for name, n in pixels.items()}
    return f"pixels of {visible(masks.name)}\n  by class  {_tally(shares)}"


def _tally(counts: "Mapping[str, int | str]") -> str:
    return ", ".join(
        f"{visible(name)} ({n if isinstance(n, str) else f'{n:,}'})" for name, n in counts.items()
    )


def _arrays(summary: "PoolSummary") -> str:
    rows = [["array", "type", "per sample"]]
    parts = (
        ("inputs", summary.inputs),
        ("targets", summary.targets),
        ("items", summary.vectors),
    )
    for role, arrays in parts:
        rows += [[f"{role}/{each.name}", _type(each), _shape(each)] for each in arrays]
    return text_columns(rows, left=frozenset({0, 1, 2}))


def _type(array: "ArraySummary") -> str:
    return array.dtype + (f", stored as {array.stored}" if array.stored else "")


def _inputs(summary: "PoolSummary") -> str:
    rows = [["input", "min", "mean", "max", "SD", "zeros", "not finite"]]
    for each in summary.input_ranges:
        for one in each.channels[:_MOST_SHOWN]:
            name = each.name if one.channel is None else f"{each.name}, channel {one.channel}"
            numbers = (one.low, one.mean, one.high, one.std)
            rows.append(
                [
                    name,
                    *("–" if value is None else f"{value:.4g}" for value in numbers),
                    f"{100 * one.zeros:.3g} %",
                    f"{one.not_finite:,}",
                ]
            )
    notes = [
        f"{each.name}: … and {len(each.channels) - _MOST_SHOWN} more channels (--json lists them)"
        for each in summary.input_ranges
        if len(each.channels) > _MOST_SHOWN
    ]
    notes += [
        f"{each.name}: of {counted(each.n, 'sample')} at even distances, since the pool is large"
        for each in summary.input_ranges
        if each.n < each.n_samples
    ]
    return "\n".join([text_columns(rows, left=frozenset({0})), *notes])


def _shape(array: "ArraySummary") -> str:
    return " × ".join(map(str, array.shape)) or "one value"


def _columns(heading: str, columns: "Sequence[ColumnSummary]") -> str:
    rows = [[heading, "type", "missing", "range", "values"]]
    rows += [
        [each.name, each.dtype, f"{each.missing:,}", _range(each), _values(each)]
        for each in columns
    ]
    return text_columns(rows, left=frozenset({0, 1, 3, 4}))


def _range(column: "ColumnSummary") -> str:
    parts = [] if column.low is None else [f"{column.low:.6g} … {column.high:.6g}"]
    if column.infinite:
        parts.append(f"{column.infinite:,} infinite")
    return ", ".join(parts)


def _values(column: "ColumnSummary") -> str:
    if column.distinct is None:
        return ""
    first = list(column.counts.items())
    if column.distinct > len(first):
        return f"{column.distinct:,} different"
    shown = first if len(first) <= _MOST_SHOWN else first[:_SHOWN_COUNTS]
    more = "" if len(shown) == len(first) else ", …"
    return f"{column.distinct}: {', '.join(f'{value} ({n:,})' for value, n in shown)}{more}"
