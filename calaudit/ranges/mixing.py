"""Mixtures as they are written: ``noise<5=0.6,rest=0.4``, or ``noise<5,noise = 20`` for a union."""

from collections.abc import Mapping

from calaudit.errors import RangesError, SettingsError
from calaudit.ranges.histogram import Histograms
from calaudit.ranges.observation import REST, Observation


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
