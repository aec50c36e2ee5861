"""What to ship: the cheapest remedy that holds, how it was chosen, and how it was proven.

Options are chosen among on tuning rows. What is claimed of the chosen one (its verdict, its gain
over the plain set) is measured on evaluated rows, which no choice has seen.
"""

from dataclasses import dataclass
from enum import StrEnum

from calaudit.results.comparison import Verdict
from calaudit.results.drops import Part
from calaudit.results.values import Count, Level, Name, Share, Size, settle


class Remedy(StrEnum):
    """What is changed to protect a slice, the cheapest first."""

    PLAIN_SET = "plain set"
    """Nothing: the set that would be drawn without knowing the slices, under any method."""
    OTHER_SET = "other set"
    """Another calibration set of the audit."""
    MIXTURE = "mixture"
    """A set drawn with shares of slices that were found by search."""
    METHODS_PER_TAP = "methods per tap"
    """One calibration set, and at each tap the method that protects the worst slice."""
    FREE_RANGES = "free ranges"
    """Ranges that minimise the worst slice's predicted harm; no calibration set gives them."""
    FLOAT_OPS = "ops in float"
    """Some ops aren't quantized."""


class Outcome(StrEnum):
    """What follows from a recommendation."""

    SHIP = "ship"
    """The winner passes every gate on the evaluated rows."""
    KEEP = "keep plain set"
    """On the evaluated rows the plain set passes every gate and the winner doesn't, or the winner
    is significantly worse than a plain set that didn't regress."""
    NOTHING_HOLDS = "nothing holds"
    """The winner regressed, or on the tuning rows no remedy that was tried keeps the gates."""
    COLLECT = "collect"
    """Nothing speaks against the winner, but the evaluated rows can't prove it."""


@dataclass(frozen=True, slots=True)
class Option:
    """One engine that was considered."""

    name: Name
    """Its cell in the audit that was asked about, or what it was made of."""
    remedy: Remedy
    """What it changes."""
    cell: str | None
    """Its id in this report; None for options that weren't judged on the evaluated rows."""
    predicted: Size | None
    """Predicted harm to the slice it harms most; None where none was predicted."""
    slice: str | None
    """Where the tuning rows show most of its gate used up; None where no engine was run, since
    others are predicted to do better."""
    metric: str | None
    """The metric there."""
    drop: float | None
    """The drop there on the tuning rows, in the metric's unit; picked as the worst, it looks worse
    than it is."""
    used: float | None
    """Share of the gate that is used up there, after shrinkage towards the mean of all slices: 1 is
    all of it. Without gates: the shrunken drop itself."""
    holds: bool | None
    """Whether it was taken to keep the gates: at most half of any is used up, and no drop is
    significantly above 0 that isn't provably below its gate. None where no engine was run."""
    file: str | None = None
    """Its recipe, calibration set or scale table, from the audit file that judges the winner."""
    float_ops: tuple[Name, ...] = ()
    """Ops that it leaves in float, beyond the audit's own."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class Gain:
    """What the winner saves, against the plain set, on the evaluated rows."""

    slice: Name
    """The slice of everything, or the one where the plain set lost most on the tuning rows."""
    metric: Name
    """The name of a metric."""
    plain: float | None
    """Drop of the plain set's engine, in the metric's unit."""
    winner: float | None
    """Drop of the winner."""
    gain: Part
    """Their difference, paired unit by unit; positive where the winner loses less."""
    level: Level
    """Of the interval."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class Limit:
    """A slice that limits what ranges can do."""

    slice: Name
    """The name of a slice."""
    weight: Share
    """Its weight in the proof of the bound; weights sum to 1."""


@dataclass(frozen=True, slots=True)
class RangeBound:
    """How far ranges alone can go, in predicted harm to the slice that is harmed most."""

    bound: Size
    """No ranges have less, at the amaxes that were looked at: lower bound."""
    reached: Size
    """What the best ranges found have."""
    gap: Share
    """Share of `reached` that might still be saved."""
    best_set: str | None
    """The cell with a calibration set that is predicted to do best; None where there is none."""
    best_set_harm: Size | None
    """Its predicted harm to the slice that it harms most."""
    plain_harm: Size | None
    """The same of the plain set."""
    limits: tuple[Limit, ...]
    """Slices that prove the bound, the heaviest first."""
    amaxes: Count
    """Amaxes per tap that the bound holds for."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class Shortage:
    """A slice whose evaluated units can't decide about the winner."""

    slice: Name
    """The name of a slice."""
    metric: Name
    """The name of a metric."""
    n: Count
    """Evaluated units."""
    n_needed: Count | None
    """Units that would decide it; None where unknown."""
    reason: str | None
    """Why it is inconclusive."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to ship."""

    outcome: Outcome
    """What follows."""
    verdict: Verdict
    """Of the winner's gates on the evaluated rows."""
    sentence: Name
    """What to do, in words."""
    winner: Name
    """The id of a cell."""
    remedy: Remedy
    """What it changes."""
    plain: Name
    """The id of the plain set's cell; the winner itself where nothing has to be changed."""
    rivals: tuple[Name, ...]
    """Ids of the next best cells, judged beside the winner."""
    tune: str
    """Predicate of the rows that were chosen by."""
    n_tuning: Count
    """Tuning rows that engines were run on."""
    options: tuple[Option, ...]
    """All that were considered, the cheapest first; of one price, the best first."""
    gains: tuple[Gain, ...] = ()
    """Empty where the winner is the plain set."""
    bound: RangeBound | None = None
    """None where ranges have no slice histograms to be sought with."""
    collect: tuple[Shortage, ...] = ()
    """Where the winner's verdict is inconclusive."""
    float_macs: Share | None = None
    """Share of the winner's multiply-accumulates that runs in float; None where unknown."""
    untried: tuple[str, ...] = ()
    """Remedies that weren't tried, and why."""
