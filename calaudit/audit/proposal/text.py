"""The audit file as text: TOML with comments that say why each part is as it is."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from calaudit.audit.proposal.propose import Proposal
from calaudit.audit.proposal.table import Table
from calaudit.runtime.words import command_line, visible

WIDTH = 98
DRAWS = 3
"""Draws of a recipe that give a usable between-draw SD."""


def proposal_text(proposal: Proposal, *, name: str, model: str, pool: str, file: Path) -> str:
    """The audit file.

    Parameters
    ----------
    proposal : Proposal
    name : str
        What the audit is called.
    model, pool : str
        Paths as the file names them: relative to itself.
    file : str
        What the file is called, for the comment that says how to run it.
    """
    units = proposal.units
    split = proposal.split
    remark = (
        f"{split.remark} {proposal.n_judged:,} {units} are evaluated, {proposal.n_candidates:,} "
    )
    remark += (
        f"samples may be drawn for calibration. Each recipe is drawn {DRAWS} times, to separate "
        "its effect from between-draw variation; replicates = 1 is faster and attributes nothing."
    )
    head = {
        "name": name,
        "model": model,
        "pool": pool,
        "evaluate": split.evaluate,
        "calibrate": split.calibrate,
        "seed": 0,
        "methods": ["minmax", "entropy", "percentile", "mse"],
        "replicates": DRAWS,
    }
    lines = [
        f"# Which {units} does INT8 hurt, by how much, and which calibration set fixes it?",
        f"#   {command_line('calaudit', 'compare', file)}",
        "# Proposed by calaudit init; docs/audit.md has every key.",
        *_table("[audit]", Table(head, remark)),
        *_section("Slices, evaluated separately.", "[[slices]]", proposal.slices),
        *_left_out(proposal),
        *_section("The calibration sets to compare.", "[[calibsets]]", proposal.calibsets),
        *_section("Tasks and their metrics.", "[[tasks]]", (proposal.task,)),
        *_section("Gates: the largest drop allowed.", "[[gates]]", proposal.gates),
    ]
    return "\n".join(lines) + "\n"


def _section(title: str, header: str, tables: tuple[Table, ...]) -> Iterator[str]:
    for number, table in enumerate(tables):
        remark = f"{title} {table.remark}".strip() if number == 0 else table.remark
        yield from _table(header, Table(table.values, remark))


def _table(header: str, table: Table) -> Iterator[str]:
    yield ""
    if table.remark:
        yield from _comment(table.remark)
    yield header
    for key, value in table.values.items():
        yield f"{key} = {_value(value)}"


def _left_out(proposal: Proposal) -> Iterator[str]:
    if proposal.left_out:
        yield ""
        yield "# Columns that make no slices here:"
        for column, reason in proposal.left_out:
            yield f"#   {visible(column)}: {reason}"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        visible(text), WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {_value(each)}' for key, each in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        # JSON's texts are TOML's, but for the one control character that JSON leaves as it is
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
