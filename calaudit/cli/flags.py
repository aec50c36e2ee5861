"""Flags of several commands: an audit file and what overrides it, slices to be defined.

``--by``, ``--where`` and ``--cross`` become dimensions.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from calaudit.runtime.errors import Problem, SettingsError, near
from calaudit.runtime.words import command_line

if TYPE_CHECKING:
    from calaudit.calibration.batching import Batching, SampleOrder
    from calaudit.slices.dimension import Dimension

AuditFile = Annotated[Path, typer.Argument(metavar="AUDIT.toml", help="The audit file.")]
ModelFlag = Annotated[Path | None, typer.Option("--model", help="Model in place of the file's.")]
PoolFlag = Annotated[Path | None, typer.Option("--pool", help="Pool in place of the file's.")]
OutFlag = Annotated[
    Path | None,
    typer.Option("--out", help="Results folder; default: the audit's path without .toml."),
]
SeedFlag = Annotated[
    int | None, typer.Option("--seed", min=0, max=2**63 - 1, help="Seed in place of the file's.")
]

LimitFlag = Annotated[int, typer.Option("--limit", min=1, help="Rows shown per table.")]
ReportJsonFlag = Annotated[
    bool, typer.Option("--json", help="Print the report itself instead of tables.")
]
JobsFlag = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        help="Engines that run at a time; default: one per core where the model is small.",
    ),
]
WaitFlag = Annotated[
    bool, typer.Option("--wait", help="Wait for another run on this audit to end.")
]

BatchSizeFlag = Annotated[int, typer.Option("--batch-size", min=1, help="Samples per run at most.")]
ThreadsFlag = Annotated[
    int, typer.Option("--threads", min=0, max=1024, help="onnxruntime's; 0: all cores.")
]
SkipBadSamplesFlag = Annotated[
    bool,
    typer.Option("--skip-bad-samples", help="Skip samples with NaN or infinity, with a notice."),
]
CalibrationBatchFlag = Annotated[
    int | None,
    typer.Option(
        "--calibration-batch",
        metavar="N",
        min=1,
        help="entropy-trt: samples per batch, as TensorRT's calibrator is fed; default: 64.",
    ),
]
CalibrationOrderFlag = Annotated[
    Literal["mixed", "stored"] | None,
    typer.Option(
        "--calibration-order",
        help="entropy-trt: batches from the whole set (default), or as it is stored.",
    ),
]

ByFlags = Annotated[
    list[str] | None,
    typer.Option(
        "--by",
        metavar="COLUMN[:KEY=VALUE]...",
        help="Slice by a column: its categories, or snr_db:edges=0,5,10, activity:quantiles=3, "
        "label:tail=0.5,0.8. Repeat for more columns.",
    ),
]
WhereFlags = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="NAME=SQL",
        help="A slice by a predicate: 'loud=rms > 0.1'. Repeat for more slices.",
    ),
]
CrossFlags = Annotated[
    list[str] | None,
    typer.Option(
        "--cross",
        metavar="NAME,NAME...",
        help="Intersect dimensions named by the other flags: snr_db,speaker.",
    ),
]

_OPTION = re.compile(r":(?=[\w-]+=)")
_NAME = re.compile(r"[^=<>!]+")

_WHOLE = re.compile(r"\s*[+-]?\d+\s*")

_EXAMPLES = {
    "edges": "Write edges=0,5,10 (inf is allowed last).",
    "quantiles": "Write quantiles=4, or quantiles=0.1,0.9.",
    "tail": "Write tail=0.5,0.8.",
    "min_support": "Write min_support=30.",
}


def renamed_flag(flag: str, now: str) -> Any:
    """A former flag, which `--help` doesn't show: whoever gives it is told today's."""

    def refuse(given: str | None) -> None:
        if given is not None:
            raise SettingsError(
                f"this flag was renamed to {now}", where=flag, next_step=f"Write {now} instead."
            )

    return typer.Option(flag, hidden=True, callback=refuse)


def read_batching(size: int | None, order: "SampleOrder | None") -> "Batching | None":
    """As ``--calibration-batch`` and ``--calibration-order`` say; None where neither is given."""
    from calaudit.calibration.batching import DEFAULT_SIZE, Batching

    if size is None and order is None:
        return None
    return Batching(size or DEFAULT_SIZE, order=order or "mixed")


def read_dimensions(
    by: Sequence[str] | None = None,
    where: Sequence[str] | None = None,
    cross: Sequence[str] | None = None,
    *,
    min_support: int | None = None,
) -> list["Dimension"]:
    """Dimensions from flags, in the order by, where, cross.

    Parameters
    ----------
    by : sequence of str
        ``snr_db:edges=0,5,10``, ``speaker``, ``label:tail=0.5,0.8:name=class``; the keys are
        those of `Dimension`.
    where : sequence of str
        ``loud=rms > 0.1``.
    cross : sequence of str
        ``snr_db,speaker``, with keys as in `by`: ``snr_db,speaker:min_support=10``.
    min_support : int, optional
        For every dimension whose flag doesn't give its own.

    Raises
    ------
    SettingsError
        With every flag that can't be read.
    """
    readers: list[tuple[str, Sequence[str] | None, Callable[[str], dict[str, Any]]]] = [
        ("--by", by, _read_by),
        ("--where", where, _read_where),
        ("--cross", cross, _read_cross),
    ]
    found: list[Dimension] = []
    problems: list[Problem] = []
    for flag, texts, read in readers:
        for text in texts or ():
            try:
                found.append(_dimension(f"{flag} {text}", read(text), min_support))
            except SettingsError as error:
                problems.extend(
                    Problem(each.message, each.where or f"{flag} {text}", each.next_step)
                    for each in error.problems
                )
    if problems:
        raise SettingsError.of(problems)
    return found


def _dimension(where: str, values: dict[str, Any], min_support: int | None) -> "Dimension":
    from calaudit.runtime.settings import parse_settings
    from calaudit.slices.dimension import Dimension

    if min_support is not None:
        values.setdefault("min_support", min_support)
    return parse_settings(values, Dimension, where=where)


def _read_by(text: str) -> dict[str, Any]:
    column, *options = _OPTION.split(text)
    return {"by": column, **_options(options)}


def _read_cross(text: str) -> dict[str, Any]:
    names, *options = _OPTION.split(text)
    return {"cross": _texts(names), **_options(options)}


def _read_where(text: str) -> dict[str, Any]:
    name, sign, predicate = text.partition("=")
    if not sign or not _NAME.fullmatch(name) or not name.strip():
        raise SettingsError(
            "a predicate's slice needs a name before the first =",
            next_step=f"Write {command_line('--where', f'NAME={text}')}.",
        )
    return {"name": name.strip(), "where": predicate.strip()}


def _options(options: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    problems = []
    for option in options:
        key, _, text = option.partition("=")
        if key not in _READERS:
            problems.append(Problem(f'unknown key "{key}"', None, near(key, _READERS)))
            continue
        try:
            values[key] = _READERS[key](text)
        except ValueError:
            problems.append(Problem(f'{key}: "{text}" isn\'t numbers', None, _EXAMPLES[key]))
    if problems:
        raise SettingsError.of(problems)
    return values


def _texts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def _edges(text: str) -> list[float]:
    """Whole numbers stay whole: a float has no room for large ones."""
    return [int(part) if _WHOLE.fullmatch(part) else float(part) for part in text.split(",")]


def _quantiles(text: str) -> int | list[float]:
    return _numbers(text) if "." in text or "," in text else int(text)


_READERS: dict[str, Callable[[str], Any]] = {
    "edges": _edges,
    "quantiles": _quantiles,
    "tail": _numbers,
    "min_support": int,
    "name": str,
    "count": str,
    "missing": str,
    "tail_labels": _texts,
}
