"""The typer application; each command module registers itself here."""

from typing import Annotated

import typer

from calaudit.version import __version__

app = typer.Typer(
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
