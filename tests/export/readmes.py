"""The code blocks of an export's README, run as they stand in a process of their own."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.generic]]


def blocks(folder: Path, heading: str, language: str = "python") -> list[str]:
    """The blocks below a heading (a part of its line)."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    return [
        block
        for section in sections
        if heading in section.splitlines()[0]
        for block in re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    ]


def run_block(
    folder: Path, block: str, then: str = "", environment: Mapping[str, str] | None = None
) -> str:
    """Stdout of a block, and of lines after it, run in the export's folder."""
    done = subprocess.run(
        [sys.executable, "-c", f"{block}\n{then}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def answers(
    folder: Path,
    block: str,
    feeds: Mapping[str, NDArray[np.generic]],
    *,
    batch: int,
    environment: Mapping[str, str] | None = None,
) -> Arrays:
    """What the block's `run` gives for `feeds`, in batches."""
    given, made = folder.parent / "given.npz", folder.parent / "made.npz"
    np.savez(given, **feeds)
    then = f"""
feeds = dict(np.load({str(given)!r}))
n = len(next(iter(feeds.values())))
parts = [run({{k: v[i : i + {batch}] for k, v in feeds.items()}}) for i in range(0, n, {batch})]
np.savez({str(made)!r}, **{{name: np.concatenate([p[name] for p in parts]) for name in parts[0]}})
"""
    run_block(folder, block, then, environment)
    with np.load(made) as found:
        return {name: found[name] for name in found.files}


def judged(predictions: Path) -> tuple[NDArray[np.int64], Arrays]:
    """Pool rows and outputs of an engine, from the file that the audit left."""
    with h5py.File(predictions) as file:
        outputs = {name: each[:] for name, each in file["outputs"].items()}
        return file["rows"][:], outputs


def pool_inputs(pool: Path, rows: NDArray[np.int64]) -> Arrays:
    """Those rows of every input."""
    with h5py.File(pool) as file:
        return {name: each[:][rows] for name, each in file["inputs"].items()}
