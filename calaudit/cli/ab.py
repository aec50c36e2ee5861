"""``calaudit ab``: replay requests against two engines or endpoints, and compare them."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from calaudit.cli.flags import AuditFile, ModelFlag, PoolFlag, SeedFlag, WaitFlag
from calaudit.cli.output import print_notes, print_written
from calaudit.runtime.errors import Notice, SettingsError
from calaudit.runtime.progress import stage

if TYPE_CHECKING:
    from calaudit.ab.traffic import Traffic

EPILOG = (
    "Examples:  calaudit ab digits.toml --arm fp32 --arm equal/mse --poisson 100  ·  "
    "calaudit ab digits.toml --arm fp32 --arm http://localhost:8080/digits --requests log.csv "
    "--shadow"
)
INTERRUPTED = 128 + signal.SIGINT

app = typer.Typer(add_completion=False)


@app.command("ab", epilog=EPILOG)
def ab_command(
    audit: AuditFile,
    *,
    arms: Annotated[
        list[str],
        typer.Option(
            "--arm",
            metavar="CELL|URL",
            help="The control, then the treatment: an engine of the audit by its id, or a model on "
            "a server, http://HOST:PORT/MODEL or grpc://HOST:PORT/MODEL.",
        ),
    ],
    requests: Annotated[
        Path | None,
        typer.Option(
            "--requests",
            metavar="LOG",
            help="CSV or Parquet with the columns time, user and sample; others of numbers are "
            "outcomes.",
        ),
    ] = None,
    poisson: Annotated[
        float | None,
        typer.Option("--poisson", metavar="RATE", help="Make requests, RATE per second."),
    ] = None,
    bursty: Annotated[
        float | None,
        typer.Option(
            "--bursty", metavar="RATE", help="The same, in bursts of eight times the quiet rate."
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("--n", min=1, help="The log's first requests; or as many as are made: 2000."),
    ] = None,
    users: Annotated[int, typer.Option("--users", min=1, help="Of requests that are made.")] = 2000,
    skew: Annotated[
        float,
        typer.Option(
            "--skew", min=0, help="Of made requests: the k-th user asks k^-SKEW as often; 0: alike."
        ),
    ] = 0.7,
    write_log: Annotated[
        Path | None,
        typer.Option(
            "--write-log", metavar="LOG", help="Write made requests, as CSV or Parquet, to reuse."
        ),
    ] = None,
    share: Annotated[
        float, typer.Option("--split", help="Share of users that get the treatment.")
    ] = 0.5,
    salt: Annotated[str, typer.Option("--salt", help="Of the hash that deals users.")] = "calaudit",
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Both arms answer every request.")
    ] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", help="Seconds; a later answer is none.")
    ] = 10.0,
    speed: Annotated[float, typer.Option("--speed", help="Seconds of the log per second.")] = 1.0,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", help="Only this metric of the audit. May be repeated."),
    ] = None,
    engines: Annotated[
        int, typer.Option("--engines", min=1, help="Engines of each arm in this process.")
    ] = 1,
    connections: Annotated[int, typer.Option("--connections", min=1, help="To each server.")] = 32,
    skip_unknown: Annotated[
        bool,
        typer.Option(
            "--skip-unknown", help="Leave out requests for samples that the pool doesn't have."
        ),
    ] = False,
    metrics_port: Annotated[
        str | None,
        typer.Option(
            "--metrics-port",
            metavar="[HOST:]PORT",
            help="Serve Prometheus metrics while requests run; 0: any port that is free.",
        ),
    ] = None,
    metrics_by: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics-by",
            metavar="DIMENSION",
            help="With --metrics-port: latencies by these slices. May be repeated.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of ab.json and ab.html; default: ab in the results."),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option("--results", help="The audit's results folder, where compare had --out."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows of results shown.")] = 15,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print ab.json instead of tables.")
    ] = False,
    model: ModelFlag = None,
    pool: PoolFlag = None,
    seed: SeedFlag = None,
    wait: WaitFlag = False,
) -> None:
    """Replay requests against two arms in an open loop: latency, quality per slice, verdict.

    The audit must be finished: it gives samples, tasks, slices and gates. Ctrl-C ends the replay
    early and keeps what was answered, marked so. Exit status: 0 no harm was found and every gate
    passed, 1 the treatment regresses, 3 inconclusive, 2 bad input, 130 ended by Ctrl-C.
    """
    with stage("starting"):
        from calaudit.ab.asked import Asked
        from calaudit.ab.run import ab_audit
        from calaudit.audit.prepare import Overrides
        from calaudit.report.ab.terminal import print_ab
        from calaudit.report.files import dump
        from calaudit.results.ab_document import ab_to_document
        from calaudit.results.report import EXIT_STATUS

    asked = Asked(
        arms=tuple(arms),
        requests=_source(requests, poisson, bursty, _Users(users, skew, seed or 0)),
        n=n,
        mode="shadow" if shadow else "split",
        share=share,
        salt=salt,
        timeout_s=timeout,
        speed=speed,
        metrics=tuple(metrics or ()),
        engines=engines,
        connections=connections,
        skip_unknown=skip_unknown,
        write_log=write_log,
        seed=seed or 0,
    )
    overrides = Overrides(model, pool, results, seed, wait=wait)
    watching = None
    if metrics_port is not None:
        from calaudit.ab.showing import shown_live

        watching = shown_live(metrics_port, metrics_by or (), _tell)
    elif metrics_by:
        raise SettingsError(
            "says what is shown on a port, and none is given",
            where="--metrics-by",
            next_step="Give --metrics-port, too.",
        )
    record, path = ab_audit(audit, asked, overrides, out=out, tell=_tell, watching=watching)
    print_written(path)
    print_written(path.with_name("ab.html"))
    if as_json:
        print(dump(ab_to_document(record)), end="")
    else:
        print_ab(record, limit=limit)
    raise typer.Exit(EXIT_STATUS[record.verdict] if record.complete else INTERRUPTED)


def _tell(notice: Notice) -> None:
    print_notes([notice])


class _Users(NamedTuple):
    """Who asks, where requests are made."""

    n: int
    skew: float
    seed: int


def _source(
    log: Path | None, poisson: float | None, bursty: float | None, users: _Users
) -> "Path | Traffic":
    """Where requests come from: exactly one of the three."""
    from calaudit.ab.traffic import Traffic

    given = [name for name, each in _flags(log, poisson, bursty) if each is not None]
    if len(given) != 1:
        what = "no requests are given" if not given else f"{' and '.join(given)} are given"
        raise SettingsError(
            what,
            where="calaudit ab",
            next_step="Give one of --requests LOG, --poisson RATE and --bursty RATE.",
        )
    if log is not None:
        return log
    rate = poisson if poisson is not None else bursty
    return Traffic(
        rate=rate or 0.0,
        bursty=bursty is not None,
        users=users.n,
        skew=users.skew,
        seed=users.seed,
    )


def _flags(
    log: Path | None, poisson: float | None, bursty: float | None
) -> tuple[tuple[str, object], ...]:
    return (("--requests", log), ("--poisson", poisson), ("--bursty", bursty))
