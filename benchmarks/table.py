"""One table of what calaudit costs, each figure beside its peer or limit in the same run.

    python benchmarks/table.py [--only ranges,overhead] [--repeats 5] [--minutes 10]
                               [--markdown | --json] [--into docs/benchmarks.md]

Every benchmark runs in a process of its own, one after the other. Where one fails, is stopped by
Ctrl-C or isn't reached within `--minutes`, its figures up to then and those of the others are
printed, and what is missing is named; the exit status is then 1 (130 after Ctrl-C). With `--into`
the table also takes the place of the one between the marks of that file. docs/benchmarks.md says
how to read it.
"""

import argparse
import importlib.util
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from figures import Figure
from tqdm import tqdm

PEERS = ("fairlearn", "pycocotools", "pillow", "soundfile", "jsonschema")
HEADINGS = ("", "ours", "peer or limit", "", "ours / theirs", "goal")
MARKS = ("<!-- the table -->", "<!-- the table's end -->")
TICK = 0.5
"""Seconds between two looks at the clock."""


def benchmarks() -> list[str]:
    """Modules beside this one that offer ``figures(repeats, folder)``."""
    folder = Path(__file__).parent
    return sorted(
        each.stem
        for each in folder.glob("*.py")
        if "\ndef figures(repeats: int, folder: Path" in each.read_text(encoding="utf-8")
    )


@dataclass
class Table:
    """What is known so far."""

    machine: dict[str, str]
    repeats: int
    figures: dict[str, list[Figure]] = field(default_factory=dict)
    """By benchmark."""
    missing: dict[str, str] = field(default_factory=dict)
    """Benchmarks that didn't end, and why."""
    seconds: float = 0.0

    @property
    def all(self) -> list[Figure]:
        """In the order of the table."""
        return [figure for found in self.figures.values() for figure in found]


def machine() -> dict[str, str]:
    """What the figures hold for: processor, cores, memory, versions of ours and of peers."""
    # Here, so that processes which are measured don't start with them.
    from calaudit.audit.records import describe_environment
    from calaudit.runtime.compiled import n_cores

    found = {name: value for name, value in describe_environment({}).items() if value is not None}
    found["cores"] = str(n_cores())
    with suppress(AttributeError, ValueError, OSError):  # not on every system
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        found["memory"] = f"{size / 2**30:.0f} GiB"
    for package in PEERS:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def measure(name: str, repeats: int, folder: Path, bar: "tqdm[Any]", until: float) -> Iterator[Any]:
    """Figures of one benchmark as they come.

    Raises
    ------
    RuntimeError
        Where it fails or time is up: the last that it said.
    """
    command = [sys.executable, __file__, "--child", name, "--repeats", str(repeats)]
    log = folder / f"{name}.log"
    (folder / name).mkdir()
    with log.open("w", encoding="utf-8") as said:
        process = subprocess.Popen(
            [*command, "--folder", str(folder / name)],
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            for line in lines_until(process.stdout, bar, until):
                yield figure_of(line)
            status = process.wait()
        finally:
            end(process)
    if status:
        last = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
        raise RuntimeError(last[-1] if last else f"ended with exit status {status}")


def lines_until(pipe: IO[bytes], bar: "tqdm[Any]", until: float) -> Iterator[str]:
    """Whole lines, while the bar's clock goes on."""
    kept = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if time.monotonic() > until:
                raise RuntimeError("the time of --minutes was up")
            ready = selector.select(TICK)
            bar.refresh()
            if not ready:
                continue
            part = os.read(pipe.fileno(), 1 << 16)
            if not part:
                return
            *whole, kept = (kept + part).split(b"\n")
            yield from (line.decode() for line in whole)


def end(process: "subprocess.Popen[bytes]") -> None:
    """It and what it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def figure_of(line: str) -> Figure:
    """Undoes `child`."""
    record = json.loads(line)
    return Figure(**{**record, "ours": tuple(record["ours"]), "theirs": tuple(record["theirs"])})


def child(name: str, repeats: int, folder: Path) -> None:
    """One benchmark; what else it prints goes to the log."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        for figure in importlib.import_module(name).figures(repeats, folder):
            print(json.dumps(asdict(figure)), file=out, flush=True)


def measure_all(names: Sequence[str], repeats: int, minutes: float) -> tuple[Table, bool]:
    """The table, and whether Ctrl-C ended it."""
    table = Table(machine(), repeats)
    started = time.monotonic()
    until = started + 60 * minutes
    stopped = False
    form = "{desc}{n_fmt} of {total_fmt} benchmarks |{bar}| {elapsed}"
    with (
        tempfile.TemporaryDirectory(prefix="calaudit-benchmarks-") as folder,
        tqdm(total=len(names), file=sys.stderr, bar_format=form, disable=None) as bar,
    ):
        for name in names:
            if stopped or time.monotonic() > until:
                table.missing[name] = "not reached"
                continue
            bar.set_description_str(f"{name} … ")
            found = table.figures.setdefault(name, [])
            try:
                for figure in measure(name, repeats, Path(folder), bar, until):
                    found.append(figure)
                    bar.set_description_str(f"{name}, figure {len(found) + 1} … ")
            except RuntimeError as error:
                table.missing[name] = str(error)
            except KeyboardInterrupt:
                table.missing[name] = "stopped by Ctrl-C"
                stopped = True
            bar.update()
    table.seconds = time.monotonic() - started
    return table, stopped


def notes(table: Table) -> list[str]:
    """What stands below the table."""
    judged = [figure for figure in table.all if figure.met is not None]
    met = sum(bool(figure.met) for figure in judged)
    lines = [
        "Ratios are medians (smallest to largest) over "
        f"{table.repeats} repeats, ours and theirs by turns.",
        f"Goals met: {met} of {len(judged)}. Measured in {table.seconds / 60:.1f} minutes.",
        ", ".join(f"{name} {value}" for name, value in table.machine.items()) + ".",
    ]
    for name, why in table.missing.items():
        lines.append(f"Not measured to its end: {name} ({why}).")
    return lines


def as_text(table: Table) -> str:
    """Columns, one block per benchmark."""
    rows = [HEADINGS, *(figure.cells() for figure in table.all)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADINGS))]
    right = (1, 3)

    def line(cells: tuple[str, ...]) -> str:
        padded = (
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    blocks = [line(HEADINGS)]
    for name, found in table.figures.items():
        if found:
            blocks += ["", name, *(line(figure.cells()) for figure in found)]
    return "\n".join([*blocks, "", *notes(table)])


def as_markdown(table: Table) -> str:
    """A table, and the notes as a list."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|---|--:|---|--:|---|---|"]
    for name, found in table.figures.items():
        if found:
            lines.append(f"| **{name}** | | | | | |")
        for figure in found:
            cells = (cell.replace("|", "\\|") for cell in figure.cells())
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"- {note}" for note in notes(table))])


def as_json(table: Table) -> str:
    """All repeats of all figures."""
    figures = {
        name: [{**asdict(each), "ratio": asdict(each.ratio), "met": each.met} for each in found]
        for name, found in table.figures.items()
    }
    return json.dumps({**asdict(table), "figures": figures}, indent=1)


def put_into(path: Path, text: str) -> None:
    """Between the marks, in place of what is there."""
    page = path.read_text(encoding="utf-8")
    before, rest = page.split(MARKS[0], 1)
    after = rest.split(MARKS[1], 1)[1]
    path.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="names, by commas; all by default")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=10.0)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true")
    form.add_argument("--json", action="store_true")
    parser.add_argument("--into", type=Path, help="a Markdown file with the marks of a table")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child, asked.repeats, asked.folder)
        return 0
    names = asked.only.split(",") if asked.only else benchmarks()
    if unknown := [name for name in names if importlib.util.find_spec(name) is None]:
        parser.error(f"--only: no benchmark {unknown[0]!r}; there are {', '.join(benchmarks())}")
    if asked.repeats < 1:
        parser.error("--repeats: at least 1")
    if asked.into is not None:
        page = asked.into.read_text(encoding="utf-8") if asked.into.is_file() else ""
        if not all(mark in page for mark in MARKS):
            parser.error(f"--into: {asked.into} hasn't the lines {MARKS[0]} and {MARKS[1]}")
    table, stopped = measure_all(names, asked.repeats, asked.minutes)
    print(as_json(table) if asked.json else (as_markdown if asked.markdown else as_text)(table))
    if asked.into is not None and table.all:
        put_into(asked.into, as_markdown(table))
    return 130 if stopped else 1 if table.missing else 0


if __name__ == "__main__":
    sys.exit(main())
