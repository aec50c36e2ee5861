"""``calaudit cache``: write, show, compare, verify and convert TensorRT calibration caches."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calaudit.cli import cache_text as text
from calaudit.cli.flags import (
    BatchSizeFlag,
    CalibrationBatchFlag,
    CalibrationOrderFlag,
    SkipBadSamplesFlag,
    ThreadsFlag,
    read_batching,
)
from calaudit.cli.output import print_notes, print_written
from calaudit.runtime.errors import SettingsError
from calaudit.runtime.progress import stage
from calaudit.runtime.words import visible

if TYPE_CHECKING:
    from calaudit.formats.trt_header import TrtVersion

app = typer.Typer(
    name="cache",
    help="Write, show, compare, verify and convert TensorRT calibration caches.",
    no_args_is_help=True,
    add_completion=False,
)

CacheFile = Annotated[Path, typer.Argument(metavar="FILE", help="Calibration cache.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]
VersionFlag = Annotated[
    str | None,
    typer.Option(
        "--tensorrt", metavar="VERSION", help="TensorRT version that will read the cache: 8.6.1."
    ),
]
AlgorithmFlag = Annotated[
    str | None,
    typer.Option(
        "--algorithm",
        metavar="NAME",
        help="The calibrator that will read it: entropy (IInt8EntropyCalibrator2) or minmax.",
    ),
]


@app.command(
    "write",
    epilog="Example:  calaudit cache write model.onnx clean.h5 --method entropy-trt "
    "--tensorrt 8.6.1 --out calib.cache",
)
def write_command(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="The model (ONNX) that TensorRT will be given.")
    ],
    calibsets: Annotated[
        list[Path] | None,
        typer.Argument(metavar="SET...", help="Calibration sets (HDF5), taken together."),
    ] = None,
    *,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="Calibration cache to write.")
    ],
    tensorrt: Annotated[
        str,
        typer.Option("--tensorrt", metavar="VERSION", help="TensorRT that will read it: 8.6.1."),
    ],
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="entropy-trt: what TensorRT's entropy calibrator chooses, of one set. minmax: "
            "what its min-max calibrator chooses. entropy, percentile, mse: calaudit's own, which "
            "TensorRT takes from a cache of its entropy calibrator.",
        ),
    ] = "entropy-trt",
    algorithm: AlgorithmFlag = None,
    ranges: Annotated[
        Path | None,
        typer.Option(
            "--ranges",
            metavar="FILE",
            help="Ranges file to keep what is observed in; without SETs it is read.",
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            metavar="NAME",
            help="Set in ranges that are read, or all; needed where they hold several.",
        ),
    ] = None,
    skip_bad_samples: SkipBadSamplesFlag = False,
    batch_size: BatchSizeFlag = 64,
    calibration_batch: CalibrationBatchFlag = None,
    calibration_order: CalibrationOrderFlag = None,
    threads: ThreadsFlag = 0,
) -> None:
    """Calibrate for TensorRT up to 10 without TensorRT or a GPU.

    Every tensor that TensorRT asks for gets a range: with fewer it runs layers in float.
    """
    with stage("starting"):
        from calaudit.formats.trt_header import TrtVersion
        from calaudit.steps.write_cache import write_complete_cache

    parsed = TrtVersion.parse(tensorrt)
    with stage("calibrating"):
        made = write_complete_cache(
            model,
            calibsets or (),
            out,
            method=method,
            version=parsed,
            algorithm=_algorithm(algorithm),
            ranges=ranges,
            group=group,
            batch_size=batch_size,
            batching=read_batching(calibration_batch, calibration_order),
            threads=threads,
            skip_bad=skip_bad_samples,
        )
    print_notes(made.notices)
    for written in (ranges if calibsets else None, out):
        if written is not None:
            print_written(written)
    print(text.completeness(out, made))
    print(text.next_step(model, out, made))


@app.command("show", epilog="Example:  calaudit cache show calibration.cache")
def show_command(cache: CacheFile, *, as_json: JsonFlag = False) -> None:
    """Print a cache's header, and every scale with the amax it stands for."""
    from calaudit.formats.trt_cache import open_trt_cache

    found = open_trt_cache(cache)
    if as_json:
        print(text.as_json({"cache": str(cache), **text.cache_content(found)}))
        return
    print_notes(found.problems)
    print(f"{visible(cache)}: {text.summary(found)}\n\n{text.scale_columns(found)}")


@app.command("diff", epilog="Example:  calaudit cache diff old.cache new.cache --ranges ranges.h5")
def diff_command(
    first: Annotated[
        Path, typer.Argument(metavar="A", help="Calibration cache or scale table (JSON).")
    ],
    second: Annotated[Path, typer.Argument(metavar="B", help="The other one.")],
    *,
    ranges: Annotated[
        Path | None,
        typer.Option(
            "--ranges", metavar="FILE", help="Ranges file, to show how much each scale clips."
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option("--group", metavar="NAME", help="Group in it; default: all samples in it."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Taps to print.")] = 15,
    as_json: JsonFlag = False,
) -> None:
    """Print the taps whose scales differ most, and what each scale clips."""
    from calaudit.steps.cache import diff_files

    found, notices = diff_files(first, second, ranges=ranges, group=group)
    if as_json:
        files = {"first": str(first), "second": str(second), "ranges": ranges and str(ranges)}
        told = {"notices": [asdict(notice) for notice in notices]}
        print(text.as_json({**files, "group": group, **asdict(found), **told}))
        return
    print_notes(notices)
    print(f"A: {visible(first)}\nB: {visible(second)}\n{text.differences(found)}")
    if found.different:
        print(f"\n{text.diff_columns(found.different[:limit], clips=ranges is not None)}")


@app.command(
    "verify", epilog="Example:  calaudit cache verify calibration.cache --model model.onnx"
)
def verify_command(
    cache: CacheFile,
    *,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="MODEL", help="The FP32 model (ONNX) it is for."),
    ] = None,
    tensorrt: VersionFlag = None,
    algorithm: AlgorithmFlag = None,
    random: Annotated[
        bool,
        typer.Option(
            "--random/--no-random",
            help="Run the model on random inputs, to detect scales of random data.",
        ),
    ] = True,
    everything: Annotated[
        bool, typer.Option("--all", help="Print every finding, not five of a kind.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Say what in a cache is wrong, missing, or hardly made from real data.

    Exit status: 0 clean, 1 there are findings, 2 the cache or the model can't be read.
    """
    from calaudit.steps.verify_cache import verify_cache

    name = _algorithm(algorithm)
    found = verify_cache(
        cache, model, version=_version(tensorrt), algorithm=name, try_random=random
    )
    if as_json:
        files = {"cache": str(cache), "model": model and str(model)}
        print(text.as_json({**files, **text.verification_content(found)}))
    else:
        print_notes(found.notices)
        print(text.verdict(cache, model, found))
        for findings in text.by_kind(found.findings, everything=everything):
            print(f"\n{findings}")
    raise typer.Exit(1 if found.findings else 0)


@app.command(
    "convert",
    epilog="Example:  calaudit cache convert scales.json calibration.cache --tensorrt 8.6.1",
)
def convert_command(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Calibration cache or scale table (JSON).")
    ],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="A scale table if it ends in .json, else a cache."),
    ],
    *,
    tensorrt: VersionFlag = None,
    algorithm: AlgorithmFlag = None,
    calibset: Annotated[
        str | None,
        typer.Option("--calibset", metavar="NAME", help="Calibration set a scale table names."),
    ] = None,
) -> None:
    """Make a cache of a scale table, a scale table of a cache, or change a cache's header."""
    from calaudit.formats.trt_cache import open_trt_cache
    from calaudit.steps.cache import cache_to_table, make_cache

    to_table = out.suffix.lower() == ".json"
    given = (
        {"--tensorrt": tensorrt, "--algorithm": algorithm} if to_table else {"--calibset": calibset}
    )
    for flag, value in given.items():
        if value is not None:
            kind = "scale table" if to_table else "calibration cache"
            raise SettingsError(f"a {kind} can't store it", where=flag, next_step="Leave it out.")
    if to_table:
        print_notes(cache_to_table(source, out, calibset=calibset))
        print(f"{visible(out)}: scale table of {visible(source)}")
    else:
        name = _algorithm(algorithm)
        print_notes(make_cache(source, out, version=_version(tensorrt), algorithm=name))
        print(f"{visible(out)}: {text.summary(open_trt_cache(out))}")


def _version(text: str | None) -> "TrtVersion | None":
    from calaudit.formats.trt_header import TrtVersion

    return None if text is None else TrtVersion.parse(text)


def _algorithm(flag: str | None) -> str | None:
    from calaudit.formats.trt_header import algorithm_named

    return None if flag is None else algorithm_named(flag)
