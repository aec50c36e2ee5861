"""``calaudit doctor``: which backends and targets are usable, and what is missing."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from calaudit.cli.output import text_columns
from calaudit.runtime.errors import CalauditError, Problem, SettingsError, near
from calaudit.runtime.progress import stage
from calaudit.version import __version__

if TYPE_CHECKING:
    from calaudit.backends.base import Precision
    from calaudit.backends.health import Health
    from calaudit.backends.targets import Target

_PRECISIONS: "tuple[Precision, ...]" = ("fp32", "fp16", "int8")
_KEYS: Final = {
    "--python": "python",
    "--ssh": "ssh",
    "--ssh-config": "ssh_config",
    "--for": "compute_capability",
}
"""Flag → the key of a backend that it gives."""


app = typer.Typer(add_completion=False)


@app.command(
    "doctor",
    epilog="Examples:  calaudit doctor tensorrt --ssh nvidia@orin --python python3.8  ·  "
    "calaudit doctor audits/speech-power.toml",
)
def doctor_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BACKEND|AUDIT.toml",
            help="Backends, or an audit file and targets of it. Default: all backends.",
        ),
    ] = None,
    *,
    python: Annotated[
        str | None,
        typer.Option("--python", metavar="CMD", help="TensorRT: the Python that has it."),
    ] = None,
    ssh: Annotated[
        str | None,
        typer.Option("--ssh", metavar="USER@HOST", help="TensorRT: the machine that has it."),
    ] = None,
    ssh_config: Annotated[
        Path | None, typer.Option("--ssh-config", metavar="FILE", help="For --ssh.")
    ] = None,
    capability: Annotated[
        str | None,
        typer.Option("--for", metavar="8.9", help="TensorRT-RTX: GPU to build for."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Try backends, or an audit's targets: what runs, what is missing, how to install it.

    Exit status 1 when a backend that was named, or a target that the audit runs on, isn't usable,
    or none is where --python, --ssh or --for say.
    """
    flags = {"--python": python, "--ssh": ssh, "--ssh-config": ssh_config, "--for": capability}
    given = {flag: str(value) for flag, value in flags.items() if value is not None}
    patients = _patients(names or [], given)
    found = []
    for patient in patients:
        with stage(f"trying {patient.target.name}"):
            found.append(_examined(patient))
    if as_json:
        print(json.dumps(_document(patients, found), indent=2, ensure_ascii=False))
    else:
        print(_shown(patients, found))
    nothing = bool(given) and not any(each.usable for each in found)
    if nothing or not all(h.usable for p, h in zip(patients, found, strict=True) if p.named):
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Patient:
    """What is to be tried."""

    target: "Target"
    named: bool = True
    """Whether the exit status depends on it."""
    used: bool = True
    """Whether the audit runs on it."""


def _patients(names: Sequence[str], given: Mapping[str, str]) -> list[_Patient]:
    files = [name for name in names if name.endswith(".toml") or Path(name).is_file()]
    if not files:
        return _backends(names, given)
    if len(files) > 1 or given:
        what = files[1] if len(files) > 1 else next(iter(given))
        raise SettingsError(
            f"{what} can't stand beside the audit file {files[0]}",
            where="doctor",
            next_step="Give one audit file, whose targets say where they are, or backends.",
        )
    return _of_audit(Path(files[0]), [name for name in names if name not in files])


def _of_audit(path: Path, names: Sequence[str]) -> list[_Patient]:
    """All that an audit file runs on and its other targets, or those of them that are named."""
    from calaudit.audit.config import read_audit

    config = read_audit(path)
    known = {target.name: target for target in (*config.used, *config.unused)}
    unknown = [
        Problem(f"the audit has no target {name!r}", str(path), near(name, known))
        for name in names
        if name not in known
    ]
    if unknown:
        raise SettingsError.of(unknown)
    return [
        _Patient(target, name in names or target in config.used, target in config.used)
        for name, target in known.items()
        if name in names or not names
    ]


def _backends(names: Sequence[str], given: Mapping[str, str]) -> list[_Patient]:
    """Backends by name, or all: those that have the keys given, if any are."""
    from calaudit.backends.registry import BACKENDS, backend_kinds, backend_names
    from calaudit.backends.targets import Target
    from calaudit.runtime.settings import keys_of, parse_settings

    for name in names:
        BACKENDS.load(name)  # refuses unknown ones with the near names
    kinds = backend_kinds()
    owners = {
        flag: [name for name, kind in kinds.items() if _KEYS[flag] in keys_of(kind.settings)]
        for flag in given
    }
    for flag, having in owners.items():
        if not set(having) & set(names or having):
            raise SettingsError(
                f"no backend{' that is named' if names else ''} has the key {_KEYS[flag]}",
                where=f"doctor {flag}",
                next_step=f"Leave it out, or name {' or '.join(having)}."
                if having
                else "Leave it out.",
            )
    taking = {name for having in owners.values() for name in having}
    found = []
    for name in backend_names():
        if name not in (names or taking or backend_names()):
            continue
        values = {_KEYS[flag]: given[flag] for flag, having in owners.items() if name in having}
        # trying one that can't be imported tells what is wrong with it
        settings = None
        if name in kinds:
            settings = parse_settings(values, kinds[name].settings, where="doctor", at=name)
        found.append(_Patient(Target(name, name, settings, "doctor"), named=bool(names)))
    return found


def _examined(patient: _Patient) -> "Health":
    """What can be said of a target; what can't be used at all is missing."""
    from calaudit.backends.base import Missing
    from calaudit.backends.health import EVERYTHING, Health

    target = patient.target
    try:
        return target.kind.examine(target.settings, EVERYTHING)
    except CalauditError as error:
        absent = [
            Missing("the backend", f"can't be used: {each.message}", each.next_step or "")
            for each in error.problems
        ]
        return Health(target.backend, "–", None, (), absent=tuple(absent))


def _document(patients: Sequence[_Patient], found: "Sequence[Health]") -> dict[str, Any]:
    return {
        "calaudit": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "backends": [
            {
                "name": patient.target.name,
                "backend": patient.target.backend,
                "used": patient.used,
                "usable": each.usable,
                "interpreter": each.interpreter or None,
                "python": each.python or None,
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
            for patient, each in zip(patients, found, strict=True)
        ],
    }


def _shown(patients: Sequence[_Patient], found: "Sequence[Health]") -> str:
    several = any(patient.target.named for patient in patients)
    first = ("target", "backend") if several else ("backend",)
    rows: list[tuple[str, ...]] = [(*first, "usable", "library", "runs on", *_PRECISIONS)]
    for patient, each in zip(patients, found, strict=True):
        target = patient.target
        rows.append(
            (
                *((target.name, target.backend) if several else (target.name,)),
                "yes" if each.usable else "no",
                each.library,
                each.device or "–",
                *(", ".join(each.ops(precision)) or "–" for precision in _PRECISIONS),
            )
        )
    lines = [
        f"calaudit {__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}",
        "",
        text_columns(rows, left=frozenset(range(len(rows[0])))),
    ]
    for patient, each in zip(patients, found, strict=True):
        lines += _told(patient, each)
    return "\n".join(lines)


def _told(patient: _Patient, health: "Health") -> list[str]:
    """What the table has no room for."""
    name, lines = patient.target.name, []
    if health.interpreter:
        version = f" (Python {health.python})" if health.python else ""
        lines += ["", f"{name} runs in {health.interpreter}{version}"]
    if not patient.used:
        lines += ["", f"{name} isn't used: neither backend, agree_with nor an engine names it"]
    if health.builds_for and health.device is None:
        gpus = ", ".join(health.builds_for)
        lines += ["", f"{name} can build here but not run, for {gpus}"]
    for missing in health.missing:
        lines += ["", f"{name}: {missing}", f"  → {missing.next_step}"]
    return lines
