"""How many samples each stratum gives: exact sizes under floors, caps and shortages.

The ideal is n·w_h/Σw: w_h = N_h (proportional), 1 (equal), N_h·σ_h (Neyman 1934) or a given share.
Where bounds bite, what is missing or left over goes to the other strata in proportion to their w
(water-filling), in exact fractions. The result is rounded by largest remainder; where strata are
crosses of several dimensions, so that every slice of every dimension also gets its part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import DrawError
from calaudit.runtime.words import counted


@dataclass(frozen=True, slots=True)
class Allocation:
    """Samples per stratum."""

    asked: NDArray[np.int64]
    """(H,) what the weights, floor and cap ask for, as if no stratum could run out."""
    drawn: NDArray[np.int64]
    """(H,) what is drawn: at most the stratum's size; sums to the size asked for."""


def allocate(
    size: int,
    counts: Sequence[int],
    weights: Sequence[Fraction | int],
    *,
    floor: int = 0,
    cap: int | None = None,
    margins: Sequence[NDArray[np.integer]] = (),
) -> Allocation:
    """Split `size` over strata, without replacement.

    Parameters
    ----------
    size : int
        Samples to draw in all.
    counts : sequence of int (H,)
        Samples N_h that each stratum holds.
    weights : sequence (H,)
        w_h ≥ 0. A stratum of weight 0 gets its floor, and more only when all others are exhausted.
    floor, cap : int, optional
        At least and at most this many from each stratum (a smaller stratum gives all it has).
    margins : sequence of int (H,)
        For strata that are crosses: each stratum's slice in every dimension, from 0. Rounding then
        keeps the slices' sums near their ideals too (else the same strata of every slice would be
        rounded up). Every stratum stays within 1 of its ideal.

    Raises
    ------
    DrawError
        No split exists: floors above `size`, caps or strata below it.
    """
    low = [min(floor, n) for n in counts]
    high = [n if cap is None else min(cap, n) for n in counts]
    _check_feasible(size, counts, low, high)
    exact = [Fraction(weight) for weight in weights]
    open_high = [size if cap is None else cap] * len(counts)
    wish_low = [floor] * len(counts) if floor * len(counts) <= size else low
    asked = _rounded(_filled(size, exact, wish_low, open_high), size, margins)
    drawn = _rounded(_filled(size, exact, low, high), size, margins)
    return Allocation(np.array(asked, np.int64), np.array(drawn, np.int64))


def neyman_weights(
    values: NDArray[np.float64], codes: NDArray[np.int32], n_strata: int
) -> list[Fraction]:
    """N_h·σ_h: the weights that minimise the variance of a stratified mean (Neyman 1934).

    Parameters
    ----------
    values : float64 (n,)
        The variable whose spread counts; finite.
    codes : int32 (n,)
        Stratum of each value; -1 for none.
    n_strata : int

    Returns
    -------
    list of Fraction (H,)
        With σ_h the standard deviation over N_h − 1, and 0 for a stratum of one. σ_h keeps nine
        significant digits: sums of floats differ between machines in the last ones.
    """
    inside = codes >= 0
    codes, values = codes[inside], values[inside]
    counts = np.bincount(codes, minlength=n_strata)
    filled = np.maximum(counts, 1)
    means = np.bincount(codes, weights=values, minlength=n_strata) / filled
    squares = np.bincount(codes, weights=(values - means[codes]) ** 2, minlength=n_strata)
    deviations = np.sqrt(squares / np.maximum(counts - 1, 1))
    return [
        int(n) * Fraction(f"{deviation:.9g}")
        for n, deviation in zip(counts, deviations, strict=True)
    ]


def _check_feasible(
    size: int, counts: Sequence[int], low: Sequence[int], high: Sequence[int]
) -> None:
    if sum(counts) < size:
        raise DrawError(
            f"{counted(size, 'sample is', 'samples are')} asked for, but there are only "
            f"{sum(counts)} to draw from",
            next_step=f"Ask for at most {sum(counts)}, or widen the candidates.",
        )
    if sum(high) < size:
        raise DrawError(
            f"{size} samples are asked for, but {len(counts)} strata capped at {max(high)} "
            f"give only {sum(high)}",
            next_step="Raise the cap, or ask for fewer samples.",
        )
    if sum(low) > size:
        raise DrawError(
            f"{size} samples are asked for, but a floor of {max(low)} in {len(counts)} strata "
            f"takes {sum(low)}",
            next_step="Ask for more samples, use fewer strata, or lower the floor (floor = 0).",
        )


def _filled(
    size: int, weights: Sequence[Fraction], low: Sequence[int], high: Sequence[int]
) -> list[Fraction]:
    """The x with Σx = size and x_h = clip(λ·w_h, low_h, high_h) for one λ.

    Each round fixes the strata beyond the bound that is violated more in sum, which never has to
    be undone (Bitran & Hax 1981, the relaxation algorithm for resource allocation).
    """
    result = [Fraction(0)] * len(weights)
    free = list(range(len(weights)))
    left = Fraction(size)
    while free:
        total = sum((weights[h] for h in free), Fraction(0))
        if total > 0:
            ideal = {h: left * weights[h] / total for h in free}
        else:
            room = sum(high[h] for h in free) or 1
            ideal = {h: left * Fraction(high[h], room) for h in free}
        over = sum((max(ideal[h] - high[h], Fraction(0)) for h in free), Fraction(0))
        under = sum((max(low[h] - ideal[h], Fraction(0)) for h in free), Fraction(0))
        if over == under == 0:
            for h in free:
                result[h] = ideal[h]
            break
        bounded = {
            h: high[h] if ideal[h] > high[h] else low[h]
            for h in free
            if (over >= under and ideal[h] > high[h]) or (under >= over and ideal[h] < low[h])
        }
        for h, bound in bounded.items():
            result[h] = Fraction(bound)
            left -= bound
        free = [h for h in free if h not in bounded]
    return result


def _rounded(
    parts: Sequence[Fraction], size: int, margins: Sequence[NDArray[np.integer]]
) -> list[int]:
    """Round up the strata that lack most, in themselves and in the slices they are in.

    Without margins that is the largest remainder method. Of equal strata the earlier is rounded up.
    """
    whole = [part.numerator // part.denominator for part in parts]
    remainders = [part - n for part, n in zip(parts, whole, strict=True)]
    lacks = [_sums(remainders, margin) for margin in margins]
    own = np.array([float(each) for each in remainders])
    own[own == 0] = -np.inf
    for _ in range(size - sum(whole)):
        # Added in a fixed order, so that every machine gets the same sums.
        score = own.copy()
        for lack, margin in zip(lacks, margins, strict=True):
            score += lack[margin]
        h = int(np.argmax(score))
        whole[h] += 1
        own[h] = -np.inf
        for lack, margin in zip(lacks, margins, strict=True):
            lack[margin[h]] -= 1
    return whole


def _sums(parts: Sequence[Fraction], margin: NDArray[np.integer]) -> NDArray[np.float64]:
    sums = [Fraction(0)] * (int(margin.max()) + 1)
    for part, place in zip(parts, margin, strict=True):
        sums[place] += part
    return np.array([float(each) for each in sums])
