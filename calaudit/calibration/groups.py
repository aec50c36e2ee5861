"""Groups of samples: divided so that few histograms serve many overlapping ones; mixtures.

A mixture is written ``noise<5=0.6,rest=0.4``, a union ``noise<5,noise = 20``.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from calaudit.calibration.histogram import Histograms
from calaudit.calibration.observation import REST, Observation
from calaudit.runtime.errors import RangesError, SettingsError

FEW_ATOMS: Final = 48
"""Atoms that are always kept apart, however few groups there are."""


class Parts(NamedTuple):
    """Samples divided into what histograms are kept of."""

    of_sample: NDArray[np.int64]
    """(n, k): the parts of each sample, filled up with -1."""
    weights: NDArray[np.float64]
    """(n_groups, n_parts): how often each group counts the samples of each part."""
    disjoint: bool
    """Whether every sample lies in one part (atoms); else each group has parts of its own."""


def split_into_parts(weights: NDArray[np.float64]) -> Parts:
    """Divide samples into atoms while those are few, else into the groups themselves.

    Sets drawn at random overlap in ever more combinations: of 32 sets nearly every sample is an
    atom of its own. With a histogram per atom memory would grow with the samples, so beyond
    `FEW_ATOMS` and the number of groups there is one per group (and per distinct weight in it),
    and a sample is counted in each of its groups.

    Parameters
    ----------
    weights : float64 (n_groups, n)
        How often each group counts each sample; 0: not in it.
    """
    codes = np.unique(weights, return_inverse=True)[1].reshape(weights.shape)
    _, first, of_sample = np.unique(codes, axis=1, return_index=True, return_inverse=True)
    if len(first) <= max(len(weights), FEW_ATOMS):
        atoms = of_sample.reshape(-1, 1).astype(np.int64)
        return Parts(atoms, np.ascontiguousarray(weights[:, first]), disjoint=True)
    own = [np.unique(row[row != 0]) for row in weights]
    starts = np.cumsum([0, *map(len, own)])
    table = np.zeros((len(weights), int(starts[-1])))
    of_group = np.full(weights.shape, -1, np.int64)
    for group, (row, values) in enumerate(zip(weights, own, strict=True)):
        table[group, starts[group] : starts[group + 1]] = values
        held = row != 0
        of_group[group, held] = starts[group] + np.searchsorted(values, row[held])
    return Parts(_compact(of_group), table, disjoint=False)


def _compact(of_group: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n_groups, n) with -1 for none → (n, k), the parts of each sample first."""
    width = max(1, int((of_group >= 0).sum(axis=0).max(initial=0)))
    ordered = -np.sort(-of_group, axis=0)[:width]
    return np.ascontiguousarray(ordered.T)


def mix(observation: Observation, text: str) -> Histograms:
    """Histograms of all taps over a mixture or union of recorded groups.

    Parameters
    ----------
    observation : Observation
    text : str
        Groups parted by commas. With ``=share`` after each: a mixture in these shares, in which
        ``rest`` means what the others don't hold. Without: all their samples, each once.

    Raises
    ------
    SettingsError
        Some groups have shares and some don't, or one is named twice.
    RangesError
        See `Observation.mixture` and `Observation.union`.
    """
    shares = _read(observation, text)
    given = {name: share for name, share in shares.items() if share is not None}
    if not given:
        return observation.union(list(shares))
    if len(given) != len(shares):
        without = next(name for name in shares if name not in given)
        raise SettingsError(
            f"{without!r} has no share, others have",
            where=text,
            next_step=f"Write {without}=0.5, or leave all shares out.",
        )
    return observation.mixture(given)


def _read(observation: Observation, text: str) -> Mapping[str, float | None]:
    shares: dict[str, float | None] = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        name, share = _entry(observation, entry)
        if name in shares:
            raise SettingsError(f"{name!r} is named twice", where=text)
        shares[name] = share
    if not shares:
        raise SettingsError("names no group", where=text, next_step="Write group=share,….")
    return shares


def _entry(observation: Observation, entry: str) -> tuple[str, float | None]:
    """A group's name, and its share where one stands behind it: ``noise = 0`` is a name."""
    try:
        return observation.find(entry), None
    except RangesError as error:
        name, sign, number = entry.rpartition("=")
        try:
            share = float(number)
        except ValueError:
            share = None
        if not sign or share is None:
            raise error
    name = name.strip()
    return (REST if name == REST else observation.find(name)), share
