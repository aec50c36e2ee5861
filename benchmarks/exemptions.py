"""Which products a search leaves in float, on networks where it is known which need it.

Each network has six products; in what the guilty ones read, one channel is 3,000 times larger than
the rest. An engine passes where at most 10 % of the decisions flip. Printed are, over the seeds:
how often the search found as few products as there are, by trying all sets of up to three; how
often it left a product in float that isn't guilty; and engines that it judged and looked at.

    python benchmarks/exemptions.py [--seeds 20]
"""

import argparse
import time
from collections.abc import Sequence
from itertools import combinations

from worlds.needs_float import NAMES, Bench, N

from calaudit.explain.exemptions import search_exemptions

WORLDS: dict[str, tuple[str, ...]] = {
    "none": (),
    "the last": NAMES[-1:],
    "the first": NAMES[:1],
    "two": (NAMES[1], NAMES[4]),
    "all": NAMES,
}
MOST = 3


def fewest(bench: Bench) -> int | None:
    """Products in the smallest set with which the engine passes; None beyond `MOST`."""
    for size in range(MOST + 1):
        if any(bench.judge(frozenset(left)).holds for left in combinations(NAMES, size)):
            return size
    return None


def row(name: str, guilty: Sequence[str], seeds: int) -> str:
    """One line of the table."""
    right = needless = judged = looked = 0
    spent = 0.0
    for seed in range(seeds):
        bench = Bench(guilty, seed)
        start = time.perf_counter()
        found = search_exemptions(bench.products, bench.judge, bench.loss, N, most=MOST)
        spent += time.perf_counter() - start
        right += (len(found.float_ops) if found.holds else None) == fewest(bench)
        needless += found.holds and not set(found.float_ops) <= set(guilty)
        judged += len(found.tried)
        looked += found.n_looked
    means = f"{judged / seeds:7.1f} {looked / seeds:7.1f} {spent / seeds:8.2f}"
    return f"{name:<10} {right:>4} of {seeds:<4} {needless:>9} {means}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    print(
        f"{'guilty':<10} {'right':>12} {'needless':>9} {'judged':>7} {'looked':>7} {'seconds':>8}"
    )
    for name, guilty in WORLDS.items():
        print(row(name, guilty, seeds), flush=True)


if __name__ == "__main__":
    main()
