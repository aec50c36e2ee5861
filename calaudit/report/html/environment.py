"""The page's templates, and the filters that they have."""

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version

from jinja2 import Environment, FileSystemBytecodeCache, PackageLoader, StrictUndefined
from jinja2.bccache import Bucket
from markupsafe import Markup, escape
from platformdirs import user_cache_path

from calaudit.report.handover import named_files
from calaudit.report.index import set_label
from calaudit.report.precision import share_of_macs, shown_share, told_by
from calaudit.report.targets import likeness
from calaudit.report.wording import MISSING
from calaudit.results.audited import CalibsetRecord, EngineRecord
from calaudit.runtime.words import visible


class _Compiled(FileSystemBytecodeCache):
    """Templates compiled once per text and release of Jinja, which takes longer than a page.

    A folder that can't be written costs time and nothing else.
    """

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep one template."""
        with suppress(OSError):
            super().dump_bytecode(bucket)

    def load_bytecode(self, bucket: Bucket) -> None:
        """Look for one template."""
        with suppress(OSError):
            super().load_bytecode(bucket)


def _compiled() -> _Compiled:
    folder = user_cache_path("calaudit", appauthor=False) / f"templates-{version('jinja2')}"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return _Compiled(str(folder))


@cache
def templates_of(package: str) -> Environment:
    """A package's templates, which escape whatever they are given."""
    made = Environment(
        loader=PackageLoader(package, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=_compiled(),
    )
    made.filters["visible"] = visible
    return made


@cache
def environment() -> Environment:
    """The templates of report.html."""
    made = templates_of("calaudit.report.html")
    made.filters["likeness"] = likeness
    made.filters["counts"] = _counts
    made.filters["labelled"] = _labelled
    made.filters["macs"] = _macs
    made.filters["breakable"] = _breakable
    made.filters["bracketed"] = _bracketed
    made.filters["by"] = told_by
    made.filters["files"] = named_files
    return made


def _labelled(calibset: CalibsetRecord) -> str:
    return visible(set_label(calibset.name, calibset.role))


def _breakable(text: str) -> Markup:
    """May be broken before an exemption and behind ``/`` and ``_``, rather than within a word.

    So ``minmax`` and ``+head``, or ``conv_`` and ``out``, stand on two lines.
    """
    return Markup("<wbr>").join(re.split(r"(?=\+)|(?<=[/_])", text))


def _bracketed(text: str) -> Markup:
    """An interval in brackets under its number: ``2.00 × (1.98–2.02)``."""
    value, _, ends = text.partition(" (")
    if not ends:
        return escape(text)
    return Markup('{}<small class="muted">{}</small>').format(value, ends.removesuffix(")"))


def _macs(engine: EngineRecord) -> str:
    share = share_of_macs(engine).removesuffix(" of MACs") or MISSING
    left = engine.exempt_share
    return share if left is None else f"{share}; {shown_share(left)} left in float as asked"


def _counts(ops: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {visible(name)}" for name, n in ops.items()) or MISSING
