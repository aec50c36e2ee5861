"""Flags of ``calaudit pool import``: what each column becomes, and how files are read."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from calaudit.runtime.errors import Problem, SettingsError, near

if TYPE_CHECKING:
    from calaudit.formats.importers.npz import Roles


def _named(flag: str, text: str) -> Any:
    return typer.Option(flag, metavar="NAME[=FROM]", help=f"{text} Repeat for more.")


InputFlags = Annotated[
    list[str] | None, _named("--input", "Model input, from an array or a column of paths.")
]
TargetFlags = Annotated[
    list[str] | None, _named("--target", "Ground truth that predictions are compared with.")
]
MaskFlags = Annotated[
    list[str] | None, _named("--mask", "Ground truth that is masks, from a column of paths.")
]
IgnoreFlag = Annotated[
    int | None,
    typer.Option(
        "--ignore",
        metavar="NUMBER",
        help="Number that stands where a mask says nothing, such as 255.",
    ),
]
ClassesFlags = Annotated[
    list[str] | None,
    typer.Option(
        "--classes",
        metavar="[TARGET=]NAMES|FILE",
        help="Names of a target's classes in the order of the model's outputs: cat,dog or a file "
        "with one a line.",
    ),
]
MetaFlags = Annotated[list[str] | None, _named("--meta", "Metadata column, for slices.")]
ItemFlags = Annotated[list[str] | None, _named("--item", "Catalogue column (.npz only).")]
IdsFlag = Annotated[
    str | None,
    typer.Option("--ids", metavar="FROM", help="Array or column with a stable id per sample."),
]
ConfigFlag = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="TOML", help="Inputs, preprocessing, targets and metadata, in a file."
    ),
]
KindFlag = Annotated[
    str | None,
    typer.Option("--kind", help="image, audio or npy; by default as the first path ends."),
]
SizeFlag = Annotated[
    str | None, typer.Option("--size", metavar="HxW", help="Image size: 224 or 224x320.")
]
FitFlag = Annotated[
    str | None,
    typer.Option(
        "--fit",
        help="How images come to their size: stretch, crop or letterbox; letterbox by default of "
        "images with boxes, else stretch.",
    ),
]
ImagesFlag = Annotated[
    Path | None,
    typer.Option("--images", metavar="FOLDER", help="Where the images of COCO's JSON are."),
]
SplitsFlag = Annotated[
    str | None,
    typer.Option("--splits", metavar="NAME,...", help="Splits of images with boxes to take."),
]
MostFlags = Annotated[
    list[str] | None,
    typer.Option(
        "--most",
        metavar="[SPLIT=]N",
        help="Images with boxes to take at most, of each split or of one, at even distances.",
    ),
]
ChannelsFlag = Annotated[str | None, typer.Option("--channels", help="rgb (default), bgr or gray.")]
MeanFlag = Annotated[
    str | None,
    typer.Option("--mean", metavar="M,...", help="Subtracted after division by 255, per channel."),
]
StdFlag = Annotated[
    str | None, typer.Option("--std", metavar="S,...", help="Divided by then, per channel.")
]
WhiteFlag = Annotated[
    float | None,
    typer.Option(
        "--white",
        metavar="VALUE",
        help="White in images of more than 8 bits: by default 1 for floats, 65535 for integers.",
    ),
]
LayoutFlag = Annotated[
    str | None, typer.Option("--layout", help="NCHW (default) or NHWC; audio: NCL or NL.")
]
DtypeFlags = Annotated[
    list[str] | None,
    typer.Option(
        "--dtype",
        metavar="[INPUT=]TYPE",
        help="Element type of the inputs, or of one, as the model takes: float16.",
    ),
]
RateFlag = Annotated[
    int | None, typer.Option("--sample-rate", metavar="HZ", help="Audio is resampled to this.")
]
LengthFlag = Annotated[
    int | None,
    typer.Option("--length", metavar="SAMPLES", help="Audio is cut or padded with zeros to this."),
]
BytesFlag = Annotated[
    bool,
    typer.Option(
        "--as-bytes",
        help="Store images of 8 bits in bytes: a quarter of the room, read as the same numbers.",
    ),
]
OutsideFlag = Annotated[
    bool, typer.Option("--outside", help="Allow paths that leave the manifest's folder.")
]
CompressFlag = Annotated[
    bool, typer.Option("--compress", help="Store with gzip: smaller, slower to read.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleFlags:
    """What becomes what: ``NAME`` or ``NAME=FROM``."""

    input: Sequence[str] | None
    target: Sequence[str] | None
    mask: Sequence[str] | None
    ignore: int | None
    meta: Sequence[str] | None
    item: Sequence[str] | None
    classes: Sequence[str] | None
    ids: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFlags:
    """How the files of a manifest are read."""

    config: Path | None
    kind: str | None
    size: str | None
    fit: str | None
    images: Path | None
    splits: str | None
    most: Sequence[str] | None
    channels: str | None
    mean: str | None
    std: str | None
    white: float | None
    layout: str | None
    dtype: Sequence[str] | None
    sample_rate: int | None
    length: int | None
    as_bytes: bool
    outside: bool


FILE_FLAGS = tuple(each.name for each in fields(FileFlags))


def refuse(flags: RoleFlags | FileFlags, source: str, *, known: Sequence[str] = ()) -> None:
    """Refuse flags, other than the `known`, that mean nothing for this source.

    Raises
    ------
    SettingsError
        With one problem per flag.
    """
    problems = [
        Problem(
            f"--{name.replace('_', '-')} means nothing for this source",
            source,
            "Leave it out.",
        )
        for name, value in asdict(flags).items()
        if value is not None and value is not False and value != [] and name not in known
    ]
    if problems:
        raise SettingsError.of(problems)


def asked_dtypes(files: FileFlags) -> dict[str, str]:
    """The element types asked for, by input; ``"*"`` for all that aren't named.

    Raises
    ------
    SettingsError
        A pool stores no such type, or an input is given two.
    """
    from calaudit.formats.importers.manifest_settings import Dtype
    from calaudit.formats.importers.media import EVERY

    known = get_args(Dtype)
    found: dict[str, str] = {}
    for text in files.dtype or ():
        name, sign, dtype = text.rpartition("=")
        name = name if sign else EVERY
        if dtype not in known or name in found or not name:
            wrong = f"{dtype!r} isn't a type that a pool stores"
            raise SettingsError(
                wrong if dtype not in known else f"{text!r} says the type of an input again",
                where="--dtype",
                next_step=near(dtype, known) if dtype not in known else "Give each input one.",
            )
        found[name] = dtype
    return found


def class_names(roles: RoleFlags) -> dict[str, tuple[str, ...]]:
    """Class names by target; without one named, of the only target, or of ``label``.

    Raises
    ------
    SettingsError
        A target's classes are named twice.
    FileFormatError
        A file of names can't be used.
    """
    from calaudit.formats.class_names import read_names

    targets = [*pairs(roles.target, "--target"), *pairs(roles.mask, "--mask")]
    found: dict[str, tuple[str, ...]] = {}
    for text in roles.classes or ():
        name, sign, names = text.partition("=")
        if not sign:
            name, names = (targets[0] if len(targets) == 1 else "label"), text
        if name in found or not name:
            raise SettingsError(
                f"{text!r} names the classes of {name or 'nothing'}" + (" again" if name else ""),
                where="--classes",
                next_step="Write TARGET=cat,dog, each target once.",
            )
        listed = "," in names or not (Path(names).is_file() or Path(names).suffix)
        found[name] = tuple(names.split(",")) if listed else read_names(Path(names))
    return found


def npz_roles(flags: RoleFlags) -> "Roles":
    """The roles of an .npz file's arrays."""
    from calaudit.formats.importers.npz import Roles

    return Roles(
        inputs=pairs(flags.input, "--input"),
        targets=pairs(flags.target, "--target"),
        meta=pairs(flags.meta, "--meta"),
        items=pairs(flags.item, "--item"),
        ids=flags.ids,
    )


def pairs(flags: Sequence[str] | None, flag: str, *, alone: str | None = None) -> Mapping[str, str]:
    """``NAME=FROM`` taken apart; ``NAME`` comes from `alone`, or from what has the same name."""
    found: dict[str, str] = {}
    for text in flags or ():
        name, _, source = text.partition("=")
        if not name or name in found:
            raise SettingsError(
                f"{text!r} {'names ' + repr(name) + ' again' if name else 'has no name'}",
                where=flag,
                next_step="Write NAME, or NAME=FROM, each name once.",
            )
        found[name] = source or alone or name
    return found
