"""How ``calaudit pool import`` reads files, as its flags or a file of settings say."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calaudit.cli.pool_flags import (
    FILE_FLAGS,
    FileFlags,
    RoleFlags,
    asked_dtypes,
    class_names,
    pairs,
    refuse,
)
from calaudit.runtime.errors import SettingsError, near

if TYPE_CHECKING:
    from calaudit.formats.importers.annotated_settings import AnnotatedSettings
    from calaudit.formats.importers.manifest_settings import ManifestSettings

_OF_BOXES = ("images", "splits", "most")
_OF_AUDIO = ("sample_rate", "length")
_EVERY_SPLIT = "*"


def manifest_settings(source: Path, roles: RoleFlags, files: FileFlags) -> "ManifestSettings":
    """Settings of a manifest from ``--config``, or from the other flags.

    Raises
    ------
    SettingsError
        Flags beside ``--config``, or values that make no sense.
    """
    from calaudit.formats.importers.manifest_settings import ManifestSettings
    from calaudit.formats.importers.media import EVERY, check_named
    from calaudit.runtime.settings import parse_settings, read_settings

    if files.config is not None:
        refuse(roles, f"{source} with --config")
        refuse(files, f"{source} with --config", known=["config"])
        return read_settings(files.config, ManifestSettings)
    known = ["input", "target", "mask", "ignore", "classes", "meta", "ids"]
    refuse(roles, str(source), known=known)
    inputs = pairs(roles.input, "--input", alone="path")
    if not inputs:
        raise SettingsError(
            "no column is an input",
            where=source,
            next_step="Name the model's input and the column of paths: --input image=path.",
        )
    refuse(files, str(source), known=[name for name in FILE_FLAGS if name not in _OF_BOXES])
    dtypes = asked_dtypes(files)
    check_named(dtypes, inputs, where=source)
    targets, masks = pairs(roles.target, "--target"), pairs(roles.mask, "--mask")
    if roles.ignore is not None and not masks:
        raise SettingsError(
            "there are no masks", where="--ignore", next_step="Name a column of them: --mask."
        )
    targets, classes = {**targets, **masks}, class_names(roles)
    strange = [name for name in classes if name not in targets]
    if strange:
        raise SettingsError(
            f"there is no target {strange[0]!r}",
            where="--classes",
            next_step=near(strange[0], targets) if targets else "Name it: --target label.",
        )
    return parse_settings(
        {
            "inputs": {
                name: _input(source, column, files, dtypes.get(name, dtypes.get(EVERY)))
                for name, column in inputs.items()
            },
            "targets": {
                name: {
                    "column": column,
                    "classes": classes.get(name),
                    "mask": {"ignore": roles.ignore} if name in masks else None,
                }
                for name, column in targets.items()
            },
            "meta": None if roles.meta is None else dict(pairs(roles.meta, "--meta")),
            "ids": roles.ids,
            "outside": files.outside,
        },
        ManifestSettings,
        where="flags",
    )


def annotated_settings(source: Path, roles: RoleFlags, files: FileFlags) -> "AnnotatedSettings":
    """Settings of COCO's or YOLO's annotations from ``--config``, or from the other flags.

    Raises
    ------
    SettingsError
        Flags that mean nothing for such annotations, or values that make no sense.
    """
    from calaudit.formats.importers.annotated_settings import AnnotatedSettings
    from calaudit.formats.importers.media import EVERY, check_named
    from calaudit.formats.importers.table_file import SUFFIXES
    from calaudit.runtime.settings import parse_settings, read_settings

    if files.config is not None:
        refuse(roles, f"{source} with --config")
        refuse(files, f"{source} with --config", known=["config"])
        return read_settings(files.config, AnnotatedSettings)
    refuse(roles, str(source), known=["input", "target", "classes", "meta"])
    refuse(files, str(source), known=[n for n in FILE_FLAGS if n not in ("kind", *_OF_AUDIO)])
    given = {
        "input": _only(roles.input, "--input"),
        "target": _only(roles.target, "--target"),
    }
    dtypes = asked_dtypes(files)
    name = given["input"] or AnnotatedSettings().input
    check_named(dtypes, [name], where=source)
    image = _image(files, dtypes.get(name, dtypes.get(EVERY)))
    tables = [text for text in roles.meta or () if text.lower().endswith(SUFFIXES)]
    columns = [text for text in roles.meta or () if text not in tables]
    if len(tables) > 1 or (columns and not tables):
        raise SettingsError(
            "several tables" if tables else f"{columns[0]!r} is no table",
            where="--meta",
            next_step="Give one table with a row per image: --meta images.csv.",
        )
    values = given | {
        "image": {"fit": "letterbox"} | image,
        "images": None if files.images is None else str(files.images.absolute()),
        "meta": str(Path(tables[0]).absolute()) if tables else None,
        "columns": dict(pairs(columns, "--meta")) or None,
        "classes": _only_classes(roles),
        "splits": files.splits.split(",") if files.splits else None,
        "most": _most(files.most),
        "outside": files.outside,
    }
    known = {key: value for key, value in values.items() if value is not None}
    return parse_settings(known, AnnotatedSettings, where="flags")


def _only(flags: Sequence[str] | None, flag: str) -> str | None:
    """The one name that a flag gives."""
    if flags and (len(flags) > 1 or "=" in flags[0]):
        raise SettingsError(
            f"{' '.join(flags)!r} isn't one name",
            where=flag,
            next_step="Images with boxes are one input and one target; give a name alone.",
        )
    return flags[0] if flags else None


def _only_classes(roles: RoleFlags) -> tuple[str, ...] | None:
    named = list(class_names(roles).values())
    if len(named) > 1:
        raise SettingsError("are given twice", where="--classes", next_step="Give them once.")
    return named[0] if named else None


def _most(flags: Sequence[str] | None) -> dict[str, int] | None:
    found: dict[str, int] = {}
    for text in flags or ():
        split, _, number = text.rpartition("=")
        if not number.isdecimal() or (split or _EVERY_SPLIT) in found:
            raise SettingsError(
                f"{text!r} isn't a number of images",
                where="--most",
                next_step="Write N, or SPLIT=N, each split once.",
            )
        found[split or _EVERY_SPLIT] = int(number)
    return found or None


def _input(source: Path, column: str, files: FileFlags, dtype: str | None) -> dict[str, Any]:
    from calaudit.formats.importers.manifest import kind_of

    kind = files.kind or kind_of(source, column)
    values = {**_image(files, dtype), "sample_rate": files.sample_rate, "length": files.length}
    if kind != "image":
        values.pop("divide_by", None)
    if kind == "audio":
        values |= {key: values[key][0] for key in ("mean", "std") if key in values}
    return {
        "column": column,
        kind: {key: value for key, value in values.items() if value is not None},
    }


def _image(files: FileFlags, dtype: str | None) -> dict[str, Any]:
    """What flags say of how files are preprocessed."""
    values = {
        "size": _size(files.size),
        "fit": files.fit,
        "channels": files.channels,
        "mean": _numbers("--mean", files.mean),
        "std": _numbers("--std", files.std),
        "white": files.white,
        "layout": files.layout,
        "dtype": dtype,
        "as_bytes": True if files.as_bytes else None,
        "divide_by": 1.0 if dtype == "uint8" else None,  # pixels as they are
    }
    return {key: value for key, value in values.items() if value is not None}


def _size(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        sizes = [int(part) for part in text.lower().split("x")]
    except ValueError:
        sizes = []
    if len(sizes) not in {1, 2}:
        raise SettingsError(
            f"{text!r} isn't a size", where="--size", next_step="Write 224 or 224x320."
        )
    return [sizes[0], sizes[-1]]


def _numbers(flag: str, text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise SettingsError(
            f"{text!r} isn't numbers",
            where=flag,
            next_step="Write numbers with commas: 0.5,0.5,0.5.",
        ) from None
