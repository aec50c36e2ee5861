"""Kills the demo's audit at random moments, resumes it, and compares the reports.

    python benchmarks/kill.py [--times 50] [--seed 0] [--methods minmax,entropy,percentile,mse]

Each time a fresh audit is started in a process group of its own, ended by SIGKILL after a time
drawn evenly between the start and what a whole run takes, and started again. A run that ended
before it could be killed doesn't count, and a whole run is taken to be that short from then on.
The second run's report must be the whole run's but for its times, and nothing half-written may
be left.
"""

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from calaudit.demo.digits import write_demo

COMMAND = [sys.executable, "-c", "from calaudit.cli import main; main()", "compare"]


def demo(folder: Path, methods: list[str]) -> Path:
    """The demo's audit with some of its methods."""
    audit = write_demo(folder)
    text = audit.read_text(encoding="utf-8")
    lines = [
        f"methods = {json.dumps(methods)}" if line.startswith("methods = ") else line
        for line in text.splitlines()
    ]
    audit.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return audit


def start(audit: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*COMMAND, str(audit), "--formats", "none"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(audit: Path, moment: float) -> bool:
    """Start an audit and kill it after a time; whether it was still at work."""
    process = start(audit)
    time.sleep(moment)
    os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def report_of(folder: Path) -> dict[str, Any]:
    """report.json but for when it was made and how long that took."""
    found = json.loads((folder / "digits" / "report.json").read_text(encoding="utf-8"))
    return {key: value for key, value in found.items() if key not in {"created", "timings"}}


def run(audit: Path) -> float:
    began = time.perf_counter()
    if start(audit).wait() not in {0, 1, 3}:
        sys.exit(f"{audit} doesn't run")
    return time.perf_counter() - began


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--times", type=int, default=50)
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--methods", default="minmax,entropy,percentile,mse")
    asked = flags.parse_args()
    methods = asked.methods.split(",")
    moments = random.Random(asked.seed)
    whole, same, left, early = 0.0, 0, 0, 0
    resumed: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        whole = run(demo(root / "whole", methods))
        expected = report_of(root / "whole")
        span = whole
        while len(resumed) < asked.times:
            folder = root / f"killed-{len(resumed)}"
            audit = demo(folder, methods)
            moment = moments.uniform(0, span)
            if kill(audit, moment):
                resumed.append(run(audit))
                equal = report_of(folder) == expected
                same += equal
                left += len(list(folder.rglob("*.part")))
                print(
                    f"{len(resumed)} of {asked.times}: killed after {moment:.1f} s, resumed in "
                    f"{resumed[-1]:.1f} s, {'the same report' if equal else 'ANOTHER REPORT'}",
                    file=sys.stderr,
                )
            else:
                early += 1
                span = moment
            shutil.rmtree(folder)
    print(f"a whole run           {whole:6.1f} s")
    print(f"killed and resumed    {asked.times:4}  ({early} others ended before that)")
    print(f"same report           {same:4}")
    print(f"half-written files    {left:4}")
    print(
        f"resumed runs          {statistics.mean(resumed):6.1f} s on average, "
        f"{min(resumed):.1f} to {max(resumed):.1f} s"
    )
    sys.exit(0 if same == asked.times and not left else 1)


if __name__ == "__main__":
    main()
