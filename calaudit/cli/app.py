"""The typer application. A command's module is imported when the command is called.

So that ``calaudit --help`` and a mistyped command answer at once, what they show of the commands
stands here; a test compares it with the modules.
"""

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from calaudit.version import __version__

COMMANDS = {
    "demo": "Audit a digit classifier: find the slices INT8 hurts, and the calibration set that "
    "fixes it.",
    "init": "Write a commented audit file that runs as it is: slices, calibration sets, task, "
    "gates.",
    "pool": "Show what a pool holds, or make one.",
    "slices": "Print the size, share, support and label mix of every slice of a pool.",
    "sample": "Draw calibration sets, by recipe files or by flags, and print what they hold.",
    "calibrate": "Observe every calibration set in one FP32 pass, and print the amax each method "
    "chooses.",
    "cache": "Write, show, compare, verify and convert TensorRT calibration caches.",
    "build": "Build an INT8 engine from a scale table, or explain where Q/DQ goes in a model.",
    "compare": "Draw sets, build engines, compare them with FP32 slice by slice, write the report.",
    "explain": "Find out, by experiments on the tuning rows, which ranges or ops are behind "
    "regressions.",
    "export": "Export a judged engine: graph, scales, calibration cache and set, and a README that "
    "runs it.",
    "recommend": "Choose what to ship, the cheapest remedy first, and judge it on samples nobody "
    "chose by.",
    "bench": "Measure memory, latency and throughput of an audit's engines, by turns, with "
    "intervals.",
    "ab": "Replay requests against two arms in an open loop: latency, quality per slice, verdict.",
    "report": "Show or render the report of a finished audit, or compare two.",
    "status": "Print which artefacts of an audit are finished, missing or outdated.",
    "clean": "Remove outdated artefacts of an audit; reports and other files are kept.",
    "doctor": "Try backends, or an audit's targets: what runs, what is missing, how to install it.",
}
"""Command → the first sentence of its help. Its module has its name, and defines its ``app``."""


def load_command(name: str) -> Any:
    """Import one of `COMMANDS`."""
    return typer.main.get_command(import_module(f"calaudit.cli.{name}").app)


class _Commands(TyperGroup):
    """Lists `COMMANDS`, and loads the one that is called."""

    def __init__(self, **settings: Any) -> None:
        listed = [TyperCommand(name, help=text) for name, text in COMMANDS.items()]
        super().__init__(**{**settings, "commands": listed})

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed if name is None else load_command(name), rest


app = typer.Typer(
    cls=_Commands,
    name="calaudit",
    help="Audit INT8 engines slice by slice, before they ship.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        print(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Audit INT8 engines slice by slice, before they ship."""
