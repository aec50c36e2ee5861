"""A/B tests by replay: what they find, when, and how often they cry wolf.

Answers of engines of the speech audit (calibrated by noise level, on clean recordings only, or on
the noisiest) are replayed to 20,000 requests of users who each speak as one speaker at one noise
level. No engine runs in a replay: who asked, which sample and which arm make the answer.

    python benchmarks/ab_replays.py [--data ../shared/data] [--out build/ab] [--replays 200]
                                    [--part find|alarms|power|split|prior|latency]

- find: pairs of engines, slice by slice; arms are compared by what is left of scores beside FP32's
  on the same samples, and, in the last columns, without that and in shadow mode;
- alarms: an engine against itself, whose tests ought to call it different in at most 5 % of
  replays, though watched after every request; users who come back, and users who come once;
- power: losses planted on a slice, as large as the minimum detectable effect says;
- split: users dealt by another share than is promised;
- prior: requests until the always-valid test decides, by its prior, beside bets on bounded scores;
- latency: how often intervals of percentiles hold them, at a server that makes requests wait.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from worlds.replayed import ROOT, Floats, Ints, N, Replay, World, replay, speech

from calaudit.statistics import sequential
from calaudit.statistics.arms import Answers, compare_arms
from calaudit.statistics.detectable import detectable
from calaudit.statistics.latency import latencies
from calaudit.statistics.sample_ratio import sample_ratio
from calaudit.statistics.sequential import Decision, decide, watch_arms, watch_pairs

CONTROL = "stratified by SNR/entropy"
PAIRS = (
    (CONTROL, "clean only/entropy"),
    ("stratified by SNR/entropy-trt", "clean only/entropy-trt"),
    ("stratified by SNR/minmax", "clean only/minmax"),
    ("stratified by SNR/minmax", "noisiest only/minmax"),
)
ALPHA = 0.05


def watched(answers: Answers, slices: Mapping[str, Ints]) -> dict[str, Decision]:
    return decide({name: watch_arms(answers, rows) for name, rows in slices.items()})


def find(world: World, _: int) -> None:
    for control, treatment in PAIRS:
        _find(world, control, treatment)


def _find(world: World, control: str, treatment: str) -> None:
    before, after = world.scores[control], world.scores[treatment]
    one = replay(world, 0, back=True)
    answers = one.answers(before, after)
    plain = replace(answers, expected=None)
    known = before[one.sample]
    effects = detectable(one.user, known, one.slices, span=1.0, expected=one.expected, arm=one.arm)
    fixed, always = compare_arms(answers, one.slices), watched(answers, one.slices)
    alone = compare_arms(plain, one.slices)
    gap = (after - before)[one.sample]
    shadow = decide(
        {name: watch_pairs(one.user, gap, rows, span=1.0) for name, rows in one.slices.items()}
    )
    users = len(np.unique(one.user))
    print(
        f"\n{control} (control) against {treatment}: {N:,} requests of {users:,} users, in points"
    )
    print(
        f"{'slice':20s} {'truth':>6s} {'requests':>8s} {'MDE':>5s} {'found':>6s} "
        f"{'95 % interval':>15s} {'p, Holm':>8s} {'always':>8s} {'decided':>8s}"
        f" | {'alone':>15s} | {'shadow':>6s}"
    )
    for name, rows in one.slices.items():
        truth = float(np.mean((after - before)[world.slices[name]]))
        a, b, c, d = fixed[name], always[name], shadow[name], alone[name]
        found, low, high, lower, higher = (
            100 * float(each or 0) for each in (a.estimate, a.low, a.high, d.low, d.high)
        )
        print(
            f"{name:20s} {100 * truth:+6.1f} {len(rows):8,} "
            f"{100 * (effects[name].fixed or 0):5.1f} {found:+6.1f} "
            f"{low:+6.1f} … {high:+6.1f} {a.p_adjusted or 1:8.2g} {b.p_adjusted or 1:8.2g} "
            f"{b.decided or '–':>8} | {lower:+6.1f} … {higher:+6.1f} | {c.decided or '–':>6}"
        )


def alarms(world: World, replays: int) -> None:
    print(f"\nan engine against itself, {replays} replays of {N:,} requests: share that is called")
    print("different, in all and on any slice (after Holm); 5 % within 2 standard errors is")
    print(f"{ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / replays):.3f} at most")
    own = world.scores[CONTROL]
    for back, beside in ((True, True), (True, False), (False, True), (False, False)):
        counts = np.zeros(5)
        for seed in range(replays):
            one = replay(world, 1000 + seed, back=back)
            answers = one.answers(own, own)
            answers = answers if beside else replace(answers, expected=None)
            fixed = compare_arms(answers, one.slices, seed=seed, replicates=1000)
            always = watched(answers, one.slices)
            first = next(iter(one.slices))
            watching_naively = _naive(answers)
            counts += [
                (fixed[first].p_value or 1) <= ALPHA,
                any((each.p_adjusted or 1) <= ALPHA for each in fixed.values()),
                (always[first].p_value or 1) <= ALPHA,
                any(each.decided is not None for each in always.values()),
                watching_naively,
            ]
        shares = counts / replays
        print(
            f"  users {'come back' if back else 'come once'}, "
            f"{'beside FP32' if beside else 'alone'}: fixed horizon {shares[0]:.3f}, any slice "
            f"{shares[1]:.3f}; always valid, at every request {shares[2]:.3f}, any slice "
            f"{shares[3]:.3f}; 1.96 standard errors at every request {shares[4]:.3f}",
            flush=True,
        )


def _naive(answers: Answers) -> bool:
    """Whether the difference is ever 1.96 standard errors from 0, requests being independent."""
    found = []
    for side in (0, 1):
        mine = (answers.arm == side).astype(np.float64)
        n = np.maximum(mine.cumsum(), 1)
        mean, square = ((mine * answers.apart**k).cumsum() / n for k in (1, 2))
        found.append((mean, (square - mean**2) / n))
    error = np.sqrt(found[0][1] + found[1][1])
    return bool((np.abs(found[1][0] - found[0][0]) > 1.96 * error)[200:].any())


SIZES = {
    "half the MDE": 0.5,
    "the MDE": 1.0,
    "the MDE when watched": None,
    "twice the MDE": 2.0,
}
"""Times the minimum detectable effect of the log; None: the effect of the watched test."""


def power(world: World, replays: int) -> None:
    replays = max(1, replays // 4)
    print(
        f"\nlosses planted on one slice, {replays} replays each: share found after Holm, and when"
    )
    for name in ("speaker = theo", next(iter(world.slices))):
        for what, times in SIZES.items():
            losses, fixed, moments = [], 0, []
            for seed in range(replays):
                one = replay(world, 5000 + seed, back=True)
                answers, loss = _planted(world, one, name, times, seed)
                losses.append(loss)
                found = compare_arms(answers, one.slices, seed=seed, replicates=1000)[name]
                fixed += (found.p_adjusted or 1) <= ALPHA
                moments.append(watched(answers, one.slices)[name].decided)
            known = [each for each in moments if each]
            when = f"{np.median(known):,.0f}" if known else "–"
            print(
                f"  {name}, {what} ({100 * np.mean(losses):.1f} points): fixed horizon "
                f"{fixed / replays:.2f}, always valid {len(known) / replays:.2f}, after {when} "
                "requests (median)",
                flush=True,
            )


def _planted(
    world: World, one: Replay, name: str, times: float | None, seed: int
) -> tuple[Answers, float]:
    """The control against itself, but that some right answers of a slice are lost, as it comes."""
    own = world.scores[CONTROL]
    effects = detectable(
        one.user, own[one.sample], one.slices, span=1.0, expected=one.expected, arm=one.arm
    )[name]
    assert effects.fixed is not None
    assert effects.watched is not None
    loss = effects.watched if times is None else times * effects.fixed
    answers, rows = one.answers(own, own), one.slices[name]
    lost = np.random.default_rng([seed, 7]).random(len(rows)) < loss / own[one.sample[rows]].mean()
    score = answers.score.copy()
    score[rows[lost & (one.arm[rows] == 1)]] = 0.0
    return replace(answers, score=score), loss


def split(world: World, replays: int) -> None:
    print(f"\nthe split is promised in halves; {replays} replays; called a mismatch at p ≤ .01")
    for back in (False, True):
        for share in (0.5, 0.51, 0.52, 0.54):
            exact, moments, users = 0, [], []
            for seed in range(replays):
                one = replay(world, 9000 + seed, back=back, share=share)
                found = sample_ratio(one.arm, one.user)
                exact += found.p_value <= 0.01
                moments.append(found.found)
                users.append(found.users_control + found.users_treatment)
            known = [each for each in moments if each]
            when = f"{np.median(known):,.0f}" if known else "–"
            print(
                f"  {share:.0%} dealt to treatment, {np.mean(users):,.0f} users: exact at the end "
                f"{exact / replays:.3f}; watched {len(known) / replays:.3f}, at request {when} "
                "(median)"
            )


def prior(world: World | None, replays: int) -> None:
    """Independent users, and right answers in 92 % under control."""
    del world
    weights = (2.0, 8.0, 32.0, 100.0)
    replays = max(1, replays // 2)
    print(f"\nshare decided / median request, of {replays} logs of {N:,}, by planned requests over")
    print("the prior's weight; bets: hedged, by approximate growth rate, on scores less their mean")
    print(f"{'loss':>10s} " + " ".join(f"{each:>14.0f}" for each in weights) + f" {'bets':>14s}")
    for loss in (0.0, 0.01, 0.03, 0.10):
        rng = np.random.default_rng(3)
        moments: dict[float, list[float]] = {each: [] for each in (*weights, 0.0)}
        for _ in range(replays):
            arm = rng.integers(0, 2, N).astype(np.int8)
            score = (rng.random(N) < 0.92 - loss * arm).astype(np.float64)
            answers = Answers(arm, np.arange(N), score, span=1.0)
            for weight in weights:
                with patch.object(sequential, "SOONEST", weight):
                    p_value = watch_arms(answers, np.arange(N)).p_value
                moments[weight].append(_first(p_value <= ALPHA))
            moments[0.0].append(_first(_bets(answers) >= 1 / ALPHA))
        told = (
            f"{np.mean(np.isfinite(each)):.2f} /{np.median(each):9,.0f}"
            for each in moments.values()
        )
        print(f"{100 * loss:8.0f} % " + " ".join(f"{each:>14s}" for each in told))


def _first(true: NDArray[np.bool_]) -> float:
    looks = np.flatnonzero(true)
    return float(looks[0] + 1) if len(looks) else np.inf


def _bets(answers: Answers) -> Floats:
    """Wealth of two gamblers' mean, of whom each bets on one direction.

    Where users come once, arms are dealt independently of scores, and without a difference each
    request's (±1)·(score − mean so far) has mean 0 and lies in [−1, 1]: I. Waudby-Smith & A. Ramdas
    (2024), Estimating means of bounded random variables by betting, JRSS B 86, 1–27.
    """
    y, k = answers.score, np.arange(1, len(answers) + 1)
    gain = (2.0 * answers.arm - 1) * (y - np.concatenate([[0.5], y[:-1]]).cumsum() / k)
    mean = np.concatenate([[0.0], gain[:-1]]).cumsum() / k
    square = np.concatenate([[0.25], gain[:-1] ** 2]).cumsum() / k
    stakes = (np.clip(sign * mean / (square + mean**2), 0, 0.5) * sign for sign in (1, -1))
    wealth = [np.log1p(stake * gain).cumsum() for stake in stakes]
    return np.asarray(np.exp(np.logaddexp(*wealth) - np.log(2)))


def latency(_: World | None, replays: int) -> None:
    print(f"\none server per arm, {replays} runs: share of 95 % intervals that hold the percentile")
    print(
        "(an end that isn't known bounds nothing), and that hold 0 as the difference of equal arms"
    )
    shares = np.array([0.5, 0.95, 0.99])
    for load in (0.01, 0.5, 0.8):
        truth = -np.log1p(-shares) / (1 - load)
        for n in (8000, 40_000):
            rng = np.random.default_rng(n)
            held, apart = [], []
            for seed in range(replays):
                both = np.stack([_queue(rng, n // 2, load) for _ in (0, 1)], axis=1).ravel()
                found = latencies((np.arange(n) % 2).astype(np.int8), both, seed=seed)
                ends = [
                    (-np.inf if e.low is None else e.low, np.inf if e.high is None else e.high)
                    for e in (*found.control, *found.difference)
                ]
                held.append([lo <= t <= hi for (lo, hi), t in zip(ends[:3], truth, strict=True)])
                apart.append([lo <= 0 <= hi for lo, hi in ends[3:]])
            own, gap = (", ".join(f"{e:.2f}" for e in np.mean(x, axis=0)) for x in (held, apart))
            print(f"  load {load:.0%}, {n:,} requests: P50, P95, P99 {own}; differences {gap}")


def _queue(rng: np.random.Generator, n: int, load: float) -> Floats:
    """What requests take at an M/M/1 server, waiting included; exponential of rate 1 − load."""
    service, gap = rng.exponential(1.0, n), rng.exponential(1 / load, n)
    total = np.concatenate([[0.0], (service[:-1] - gap[1:]).cumsum()])
    return np.asarray(total - np.minimum.accumulate(np.minimum(total, 0.0)) + service)


PARTS: Mapping[str, Callable[[World, int], None]] = {
    "find": find,
    "alarms": alarms,
    "power": power,
    "split": split,
    "prior": prior,
    "latency": latency,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "ab")
    parser.add_argument("--replays", type=int, default=200)
    parser.add_argument("--part", choices=list(PARTS), action="append")
    given = parser.parse_args()
    world = speech(given.data, given.out)
    if world is None:
        return
    for name in given.part or PARTS:
        started = time.perf_counter()
        PARTS[name](world, given.replays)
        print(f"  ({time.perf_counter() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
