"""``calaudit calibrate``: observe ranges on calibration sets, make scale tables."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calaudit.cli.app import app
from calaudit.cli.columns import text_columns

if TYPE_CHECKING:
    from calaudit.ranges import ScaleTable


@app.command(
    "calibrate",
    epilog="Example:  calaudit calibrate model.onnx clean.h5 equal.h5 --out ranges.h5",
)
def calibrate_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="FP32 model (ONNX).")],
    calibsets: Annotated[
        list[Path], typer.Argument(metavar="SET...", help="Calibration sets (HDF5).")
    ],
    *,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Ranges file to write.")],
    scales: Annotated[
        Path | None,
        typer.Option("--scales", metavar="FOLDER", help="Write <set>-<method>.json there."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", help="minmax, entropy, percentile, mse; default: all four."),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Samples per run.")] = 64,
    threads: Annotated[
        int, typer.Option("--threads", min=0, help="onnxruntime's; 0: all cores.")
    ] = 0,
) -> None:
    """Observe every calibration set in one FP32 pass, and print the amax each method chooses."""
    from calaudit.formats.scales import write_scales
    from calaudit.steps.calibrate import calibrate_sets

    tables = calibrate_sets(
        model, calibsets, out, methods=method or None, batch_size=batch_size, threads=threads
    )
    for table in tables:
        if scales is not None:
            write_scales(scales / f"{table.calibset}-{table.method}.json", table)
        for notice in table.notices:
            print(f"calaudit: note: {notice}", file=sys.stderr)
    print(_amax_columns(tables))
    print(f"wrote {out}", file=sys.stderr)


def _amax_columns(tables: "list[ScaleTable]") -> str:
    heading = ["tap", *(f"{table.calibset} {table.method}" for table in tables)]
    rows = [[tap, *(f"{table.taps[tap].amax:.4g}" for table in tables)] for tap in tables[0].taps]
    return text_columns([heading, *rows], left=frozenset({0}))
