"""Whether an audit cries wolf: run it once per seed, and count whom it accuses of what.

Every seed draws its calibration sets anew. Of a model that hardly depends on them, no set may be
blamed; of one that does, the guilty ones should be, whichever samples they drew.

    python benchmarks/seeds.py [audits/speech-log.toml] [--seeds 20] [--model FILE] [--pool FILE]
"""

import argparse
import time
from collections import Counter
from pathlib import Path

from calaudit.audit.config import read_audit
from calaudit.audit.prepare import Overrides
from calaudit.audit.run import run_audit
from calaudit.results.report import Report

NULL = Path(__file__).parents[1] / "audits" / "speech-log.toml"


def tell(report: Report) -> tuple[Counter[str], Counter[str]]:
    """Verdicts of the gated comparisons, and findings of the harmed slices."""
    verdicts = Counter(one.verdict for one in report.results if one.verdict is not None)
    findings = Counter(each for one in report.attribution for each in one.findings)
    return Counter(verdicts), Counter(findings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audit", type=Path, nargs="?", default=NULL)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--pool", type=Path)
    parser.add_argument("--out", type=Path, help="folder of artefacts, shared by all seeds")
    options = parser.parse_args()
    config = read_audit(options.audit)
    needed = (
        options.model or config.resolve(config.audit.model),
        options.pool or config.resolve(config.audit.pool),
    )
    absent = [str(path) for path in needed if not path.exists()]
    if absent:
        print(f"left out: {' and '.join(absent)} not there; see examples/speech/README.md")
        return
    started = time.perf_counter()
    whole: tuple[Counter[str], Counter[str]] = Counter(), Counter()
    accused: Counter[tuple[str, str]] = Counter()
    blaming = 0
    for seed in range(options.seeds):
        report, _ = run_audit(
            options.audit, Overrides(options.model, options.pool, options.out, seed)
        )
        verdicts, findings = tell(report)
        whole[0].update(verdicts)
        whole[1].update(findings)
        blaming += findings["this-set"] > 0
        accused.update(
            (one.cell, one.slice) for one in report.results if one.verdict == "REGRESSED"
        )
        print(f"seed {seed}: {dict(verdicts)}; attribution: {dict(findings)}", flush=True)
    total = sum(whole[0].values())
    print(f"{options.seeds} seeds, {total} gated comparisons: {dict(whole[0])}")
    print(f"harmed slices by finding: {dict(whole[1])}; a set is blamed in {blaming} audits")
    for (cell, name), count in accused.most_common(10):
        print(f"  {cell} regressed on {name} under {count} of {options.seeds} seeds")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
