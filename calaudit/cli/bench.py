"""``calaudit bench``: what the engines of an audit cost, beside what they lose."""

from functools import partial
from typing import Annotated, Any

import typer

from calaudit.bench.run import bench_audit
from calaudit.cli.compare import FormatsFlag, show_audit
from calaudit.cli.flags import (
    AuditFile,
    JobsFlag,
    LimitFlag,
    ModelFlag,
    OutFlag,
    PoolFlag,
    ReportJsonFlag,
    SeedFlag,
    WaitFlag,
)
from calaudit.runtime.progress import stage

EPILOG = (
    "Examples:  calaudit bench digits.toml  ·  "
    "calaudit bench digits.toml --batch 1 --batch 16 --streams 1 --streams 4 --cell 'equal/*'"
)

app = typer.Typer(add_completion=False)


@app.command("bench", epilog=EPILOG)
def bench_command(
    audit: AuditFile,
    *,
    batches: Annotated[
        list[int] | None,
        typer.Option(
            "--batch",
            metavar="N",
            min=1,
            help="Samples of a batch. May be repeated; default: 1 and the audit's batch_size.",
        ),
    ] = None,
    streams: Annotated[
        list[int] | None,
        typer.Option(
            "--streams",
            metavar="N",
            min=1,
            help="Batches that are under way at a time, for throughput. May be repeated; 1 always.",
        ),
    ] = None,
    cells: Annotated[
        list[str] | None,
        typer.Option(
            "--cell",
            metavar="NAME",
            help="Only engines of this name or pattern, FP32 and FP16 beside them. May be "
            "repeated; default: all that were judged, of several draws one.",
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            "--rounds",
            metavar="N",
            min=1,
            help="Rounds: in each every engine is timed once; 6 are the fewest for intervals at "
            "95 %. Default: 12.",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds",
            help="How long an engine is timed in one round, at one batch. Default: 0.1.",
        ),
    ] = None,
    warm_up: Annotated[
        float | None,
        typer.Option(
            "--warm-up", help="Seconds that an engine may take to warm up, at most. Default: 2."
        ),
    ] = None,
    layers: Annotated[
        bool | None,
        typer.Option(
            "--layers/--no-layers", help="Time layers, where an engine tells of them (default)."
        ),
    ] = None,
    traced: Annotated[
        list[str] | None,
        typer.Option(
            "--trtexec",
            metavar="CELL=FILES",
            help="Files of trtexec's --exportTimes, --exportProfile and --exportLayerInfo in place "
            "of a measurement: CELL=times.json,profile.json,layers.json,batch=64,streams=1. May "
            "be repeated.",
        ),
    ] = None,
    model: ModelFlag = None,
    pool: PoolFlag = None,
    out: OutFlag = None,
    seed: SeedFlag = None,
    limit: LimitFlag = 15,
    formats: FormatsFlag = "all",
    as_json: ReportJsonFlag = False,
    jobs: JobsFlag = None,
    wait: WaitFlag = False,
) -> None:
    """Measure memory, latency and throughput of an audit's engines, by turns, with intervals.

    What isn't finished of the audit is made first; the report is written anew, with the bench in
    it. Flags take the place of what the audit file says. Exit status: that of calaudit compare.
    """
    with stage("starting"):
        from calaudit.audit.prepare import Overrides
        from calaudit.bench.trtexec import read_traced
        from calaudit.report.tables import View

    asked: dict[str, Any] = {
        "batches": batches,
        "streams": streams,
        "cells": cells,
        "rounds": rounds,
        "seconds": seconds,
        "warm_up": warm_up,
        "layers": layers,
    }
    settings = {key: value for key, value in asked.items() if value not in (None, [])}
    overrides = Overrides(model, pool, out, seed, wait=wait, jobs=jobs)
    read = [read_traced(each) for each in traced or ()]
    run = partial(bench_audit, settings=settings, traced=read)
    show_audit(audit, overrides, View(limit=limit), run=run, formats=formats, as_json=as_json)
