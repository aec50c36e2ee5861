"""``calaudit calibrate``: observe ranges on calibration sets, make scale tables."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calaudit.cli.coverage_text import coverage_text
from calaudit.cli.flags import (
    BatchSizeFlag,
    ByFlags,
    CalibrationBatchFlag,
    CalibrationOrderFlag,
    CrossFlags,
    SkipBadSamplesFlag,
    ThreadsFlag,
    WhereFlags,
    read_batching,
    read_dimensions,
)
from calaudit.cli.output import print_notes, print_written, text_columns
from calaudit.runtime.errors import Problem, SettingsError
from calaudit.runtime.progress import stage

if TYPE_CHECKING:
    from calaudit.calibration.scales import ScaleTable

_HDF5 = b"\x89HDF\r\n\x1a\n"
_SETS, _RANGES = "Observe", "From a ranges file"


app = typer.Typer(add_completion=False)


@app.command(
    "calibrate",
    epilog="Examples:  calaudit calibrate model.onnx clean.h5 equal.h5 --out ranges.h5   "
    "calaudit calibrate ranges.h5 --mix 'noise<5=0.6,rest=0.4' --method entropy",
)
def calibrate_command(
    source: Annotated[
        Path, typer.Argument(metavar="MODEL|RANGES", help="FP32 model (ONNX), or a ranges file.")
    ],
    calibsets: Annotated[
        list[Path] | None, typer.Argument(metavar="SET...", help="Calibration sets (HDF5).")
    ] = None,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Ranges file to write.")
    ] = None,
    scales: Annotated[
        Path | None,
        typer.Option("--scales", metavar="FOLDER", help="Write <group>-<method>.json there."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help="minmax, entropy, percentile, mse, entropy-trt; default: the first four. "
            "entropy-trt takes a second pass.",
        ),
    ] = None,
    by: ByFlags = None,
    where: WhereFlags = None,
    cross: CrossFlags = None,
    pool: Annotated[
        Path | None,
        typer.Option("--pool", help="Pool to slice by; default: the slices stored in the sets."),
    ] = None,
    weighted: Annotated[
        bool, typer.Option("--weighted", help="Count samples by their weights in the set.")
    ] = False,
    skip_bad_samples: SkipBadSamplesFlag = False,
    batch_size: BatchSizeFlag = 64,
    calibration_batch: CalibrationBatchFlag = None,
    calibration_order: CalibrationOrderFlag = None,
    threads: ThreadsFlag = 0,
    cover: Annotated[
        Path | None,
        typer.Option(
            "--cover",
            metavar="RANGES",
            help="Say how well the sets cover the groups of this ranges file, such as an audit's "
            "ranges/slices-*.h5; default: the slices recorded by this pass.",
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option("--group", rich_help_panel=_RANGES, help="A recorded group; default: all."),
    ] = None,
    mix: Annotated[
        list[str] | None,
        typer.Option(
            "--mix",
            metavar="GROUP=SHARE,...",
            rich_help_panel=_RANGES,
            help="A mixture of recorded groups; 'rest' is what the others don't hold. "
            "Without shares: their union.",
        ),
    ] = None,
    fraction: Annotated[
        float | None,
        typer.Option("--fraction", rich_help_panel=_RANGES, help="Of percentile: 0.9999."),
    ] = None,
) -> None:
    """Observe every calibration set in one FP32 pass, and print the amax each method chooses.

    From a ranges file: the same for any recorded group or mixture, without the model. entropy-trt
    takes a second pass, and has its numbers for calibration sets only.
    """
    with stage("starting"):
        from calaudit.steps.calibrate import calibrate_sets, scales_from_ranges

    given = {
        "SET": calibsets, "--out": out, "--by": by, "--where": where, "--cross": cross,
        "--pool": pool, "--weighted": weighted, "--skip-bad-samples": skip_bad_samples,
        "--calibration-batch": calibration_batch, "--calibration-order": calibration_order,
    }  # fmt: skip
    asked = {"--group": group, "--mix": mix, "--fraction": fraction}
    if _is_hdf5(source):
        _refuse(given, f"{source} is a ranges file: its samples are observed already")
        with stage("scales"):
            tables = scales_from_ranges(
                source,
                groups=group or (),
                mixtures=mix or (),
                methods=method or None,
                fraction=fraction,
            )
    else:
        _refuse(asked, f"{source} is taken as a model; groups are chosen from a ranges file")
        if not calibsets or out is None:
            raise SettingsError(
                "a model needs calibration sets and a ranges file to write",
                next_step="Write calaudit calibrate model.onnx set.h5 --out ranges.h5.",
            )
        dimensions = read_dimensions(by, where, cross)
        with stage("calibrating"):
            tables = calibrate_sets(
                source,
                calibsets,
                out,
                methods=method or None,
                batch_size=batch_size,
                batching=read_batching(calibration_batch, calibration_order),
                threads=threads,
                dimensions=dimensions,
                pool=pool,
                weighted=weighted,
                skip_bad=skip_bad_samples,
            )
    _show(tables, scales)
    _show_coverage(tables, cover, out)
    if out is not None:
        print_written(out)


def _show(tables: "list[ScaleTable]", scales: Path | None) -> None:
    from calaudit.formats.scales import write_scales

    for table in tables:
        if scales is not None:
            name = re.sub(r"[^\w.=≤≥<>,∞-]+", "_", table.calibset)
            write_scales(scales / f"{name}-{table.method}.json", table)
    print_notes(dict.fromkeys(notice for table in tables for notice in table.notices))
    heading = ["tap", *(f"{table.calibset} {table.method}" for table in tables)]
    rows = [[tap, *(f"{table.taps[tap].amax:.4g}" for table in tables)] for tap in tables[0].taps]
    print(text_columns([heading, *rows], left=frozenset({0})))


def _show_coverage(tables: "list[ScaleTable]", cover: Path | None, out: Path | None) -> None:
    """How well the tables cover the groups of `cover`, or else the slices that `out` holds."""
    from calaudit.formats.ranges import open_ranges
    from calaudit.slices.dimension import EVERYTHING
    from calaudit.steps.range_coverage import cover_slices

    path = cover or out
    if path is None:
        return
    observation = open_ranges(path)
    sets = {table.calibset for table in tables}
    slices = [name for name in observation.groups if cover or name not in sets]
    if slices and slices != [EVERYTHING]:
        print(f"\n{coverage_text(cover_slices(observation, slices, tables))}")


def _is_hdf5(path: Path) -> bool:
    if not path.is_file():
        return path.suffix in {".h5", ".hdf5"}
    with path.open("rb") as file:
        return file.read(len(_HDF5)) == _HDF5


def _refuse(flags: Mapping[str, object], why: str) -> None:
    wrong = [Problem(why, flag, f"Leave {flag} out.") for flag, value in flags.items() if value]
    if wrong:
        raise SettingsError.of(wrong)
