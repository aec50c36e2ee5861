"""``calaudit doctor``: which backends are usable here, and what is missing."""

import json
import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from calaudit.cli.output import text_columns
from calaudit.runtime.errors import CalauditError
from calaudit.runtime.progress import stage
from calaudit.version import __version__

if TYPE_CHECKING:
    from calaudit.backends.base import Precision
    from calaudit.backends.health import Health

_PRECISIONS: "tuple[Precision, ...]" = ("fp32", "fp16", "int8")


app = typer.Typer(add_completion=False)


@app.command("doctor", epilog="Example:  calaudit doctor tensorrt_rtx")
def doctor_command(
    backends: Annotated[
        list[str] | None, typer.Argument(metavar="BACKEND", help="Default: all.")
    ] = None,
    *,
    capability: Annotated[
        str | None,
        typer.Option("--for", metavar="8.9", help="TensorRT-RTX: GPU to build for."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Try every backend on this machine: what runs, what is missing, how to install it.

    Exit status 1 when a backend that was named isn't usable.
    """
    found = []
    for name in _named(backends or []):
        with stage(f"trying {name}"):
            found.append(_examined(name, capability, named=bool(backends)))
    if as_json:
        print(json.dumps(_document(found), indent=2, ensure_ascii=False))
    else:
        print(_shown(found))
    if backends and not all(each.usable for each in found):
        raise typer.Exit(1)


def _examined(name: str, capability: str | None, *, named: bool) -> "Health":
    """What can be said of a backend; one that nobody named may be broken."""
    from calaudit.backends.base import Missing
    from calaudit.backends.health import Health, examine

    try:
        return examine(name, compute_capability=capability)
    except CalauditError as error:
        if named:
            raise
        absent = [
            Missing("the backend", f"can't be used: {each.message}", each.next_step or "")
            for each in error.problems
        ]
        return Health(name, "–", None, (), absent=tuple(absent))


def _named(given: Sequence[str]) -> Sequence[str]:
    from calaudit.backends.registry import BACKENDS, backend_names

    for name in given:
        BACKENDS.load(name)  # refuses unknown ones with the near names
    return [name for name in backend_names() if name in given or not given]


def _document(found: "Sequence[Health]") -> dict[str, Any]:
    return {
        "calaudit": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "backends": [
            {
                "backend": each.backend,
                "usable": each.usable,
                "library": each.library,
                "device": each.device,
                "ops": {precision: list(each.ops(precision)) for precision in _PRECISIONS},
                "builds_for": list(each.builds_for),
                "ranges": list(each.ranges),
                "missing": [
                    {"what": m.what, "reason": m.reason, "next_step": m.next_step}
                    for m in each.missing
                ],
            }
            for each in found
        ],
    }


def _shown(found: "Sequence[Health]") -> str:
    rows = [("backend", "usable", "library", "runs on", *_PRECISIONS)]
    rows += [
        (
            each.backend,
            "yes" if each.usable else "no",
            each.library,
            each.device or "–",
            *(", ".join(each.ops(precision)) or "–" for precision in _PRECISIONS),
        )
        for each in found
    ]
    lines = [
        f"calaudit {__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}",
        "",
        text_columns(rows, left=frozenset(range(len(rows[0])))),
    ]
    for each in found:
        if each.builds_for and each.device is None:
            targets = ", ".join(each.builds_for)
            lines += ["", f"{each.backend} can build here but not run, for {targets}"]
        for missing in each.missing:
            lines += ["", f"{each.backend}: {missing}", f"  → {missing.next_step}"]
    return "\n".join(lines)
