"""What a user declares: how to choose a calibration set."""

import json
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from calaudit.runtime.errors import Problem, SettingsError
from calaudit.runtime.settings import as_values, parse_settings, read_settings, setting
from calaudit.slices.dimension import Dimension

Kind = Literal["uniform", "stratified", "skewed", "coverage"]
Role = Literal["candidate", "control"]
"""What a calibration set is there for: a candidate may ship, a control shows what would happen."""
FP32_LOSS = "fp32-loss"
"""The deviation that is computed, not read: the loss of the FP32 model on each sample."""

_OWN_KEYS: Mapping[str, tuple[Kind, ...]] = {
    "strata": ("stratified", "skewed"),
    "allocation": ("stratified",),
    "deviation": ("stratified",),
    "loss": ("stratified",),
    "floor": ("stratified",),
    "cap": ("stratified",),
    "only": ("skewed",),
    "without": ("skewed",),
    "shares": ("skewed",),
    "embedding": ("coverage",),
    "algorithm": ("coverage",),
    "start": ("coverage",),
}


@setting
class Loss:
    """Which output and target make the FP32 loss; needed only where there are several."""

    output: str | None = None
    """Model output that holds one logit per class."""
    target: str | None = None
    """Target that holds the class index."""


@setting
class Embedding:
    """Where coverage is measured. Exactly one of `column`, `tap` and `pca` is given."""

    column: str | tuple[str, ...] | None = None
    """An input or target tensor (flattened), or one or more numeric columns (standardised)."""
    tap: str | None = None
    """A tensor inside the model, flattened; needs the model."""
    pca: int | None = None
    """Number of principal components of the inputs."""

    def __post_init__(self) -> None:
        given = [key for key in ("column", "tap", "pca") if getattr(self, key) not in (None, ())]
        if len(given) != 1:
            raise SettingsError(
                f"an embedding needs exactly one of column, tap and pca, "
                f"got {', '.join(given) or 'none'}",
                next_step='Write {column = "image"}, {tap = "name of a tensor"} or {pca = 16}.',
            )
        if self.pca is not None and self.pca < 1:
            raise SettingsError(f"pca must be at least 1 component, got {self.pca}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The column or columns as a tuple."""
        if self.column is None:
            return ()
        return (self.column,) if isinstance(self.column, str) else tuple(self.column)


@setting
class Recipe:
    """How to choose `size` samples, without replacement.

    ``uniform``: all candidates alike. ``stratified``: so many from each stratum. ``skewed``: the
    deliberate bias. ``coverage``: spread over an embedding.
    """

    name: str
    """What reports call the set. It also enters the seed: two recipes never share a stream."""
    kind: Kind = "uniform"
    size: int
    seed: int | None = None
    """Default: the command's or the audit's seed."""
    candidates: str | None = None
    """SQL predicate over columns; default: every sample that isn't evaluated."""
    strata: tuple[Dimension, ...] = ()
    """Stratified: the strata are the crosses of these dimensions. Skewed: the dimensions whose
    slices are named below."""
    allocation: Literal["proportional", "equal", "neyman"] | None = None
    """Stratified; default proportional."""
    deviation: str | None = None
    """Neyman: the column whose standard deviation counts, or ``"fp32-loss"``."""
    loss: Loss | None = None
    """With ``deviation = "fp32-loss"``: which output and target."""
    floor: int | None = None
    """Stratified: at least this many from every stratum; default 1."""
    cap: int | None = None
    """Stratified: at most this many from any stratum."""
    only: tuple[str, ...] = ()
    """Skewed: draw from these slices (or SQL predicates) alone."""
    without: tuple[str, ...] = ()
    """Skewed: draw from none of these slices (or SQL predicates)."""
    shares: dict[str, float] | None = None
    """Skewed: share of the set that comes from each slice (or SQL predicate); what they leave of 1
    comes from the other candidates."""
    embedding: Embedding | None = None
    """Coverage: where."""
    algorithm: Literal["k-center", "herding"] | None = None
    """Coverage; default k-center."""
    start: Literal["random", "mean"] | None = None
    """Coverage: the first sample is drawn by the seed (default) or is the one nearest the mean."""
    role: Role | None = None
    """In an audit; default candidate. It changes nothing about the draw."""

    def __post_init__(self) -> None:
        for key in ("strata", "only", "without"):
            object.__setattr__(self, key, tuple(getattr(self, key)))
        problems = list(_problems(self))
        if problems:
            raise SettingsError.of(problems)

    @property
    def named_slices(self) -> tuple[str, ...]:
        """Slices that `only`, `without` and `shares` name, each once."""
        return tuple(dict.fromkeys((*self.only, *self.without, *(self.shares or ()))))

    @property
    def needs_model(self) -> bool:
        """Whether the draw needs the FP32 model's outputs."""
        tap = self.embedding is not None and self.embedding.tap is not None
        return tap or self.deviation == FP32_LOSS

    @property
    def choice(self) -> dict[str, Any]:
        """All that decides which samples are drawn, as JSON values."""
        return {key: value for key, value in as_values(self).items() if key != "role"}

    def to_json(self) -> str:
        """What decides the draw as JSON text, without what is left at its default."""
        return json.dumps(_pruned(self.choice), ensure_ascii=False)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe file (TOML). Raises `SettingsError` with every problem."""
    return read_settings(path, Recipe)


def recipe_from_json(text: str, *, where: object) -> Recipe:
    """A recipe from :meth:`Recipe.to_json`. Raises `SettingsError`, also where it isn't JSON."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(f"the recipe isn't JSON: {error}", where=where) from None
    if not isinstance(values, Mapping):
        raise SettingsError("the recipe isn't a JSON object", where=where)
    return parse_settings(values, Recipe, where=where)


def exact_share(share: float) -> Fraction:
    """A share as the decimal fraction the user wrote: 0.1 + 0.2 + 0.7 is exactly 1."""
    return Fraction(str(share))


def _pruned(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {key: _pruned(inner) for key, inner in value.items()}
        return {key: inner for key, inner in kept.items() if inner not in (None, [], {})}
    return [_pruned(inner) for inner in value] if isinstance(value, list | tuple) else value


def _problems(recipe: Recipe) -> Iterator[Problem]:
    if not recipe.name.strip() or not recipe.name.isprintable():
        yield Problem(f"a recipe needs a name of one line, got {recipe.name!r}")
    if recipe.size < 1:
        yield Problem(f"size must be at least 1, got {recipe.size}", None, "Ask for some samples.")
    if recipe.seed is not None and not 0 <= recipe.seed < 2**63:
        yield Problem(f"seed must lie between 0 and 2^63 - 1, got {recipe.seed}")
    for key, kinds in _OWN_KEYS.items():
        if getattr(recipe, key) not in (None, ()) and recipe.kind not in kinds:
            yield Problem(
                f'{key} doesn\'t go with kind = "{recipe.kind}"',
                None,
                f'Drop it, or write kind = "{kinds[0]}".',
            )
    if recipe.kind == "stratified":
        yield from _stratified_problems(recipe)
    if recipe.kind == "skewed":
        yield from _skewed_problems(recipe)
    if recipe.kind == "coverage" and recipe.embedding is None:
        yield Problem(
            "coverage needs an embedding", None, "Add embedding = {pca = 16}, for example."
        )


def _stratified_problems(recipe: Recipe) -> Iterator[Problem]:
    if not recipe.strata:
        yield Problem(
            "a stratified draw needs strata", None, 'Add [[strata]] with by = "a column".'
        )
    if (recipe.allocation == "neyman") != (recipe.deviation is not None):
        yield Problem(
            'allocation = "neyman" and deviation go together',
            None,
            f'Add both, with deviation = "a column" or "{FP32_LOSS}".',
        )
    if recipe.loss is not None and recipe.deviation != FP32_LOSS:
        yield Problem(f'loss goes with deviation = "{FP32_LOSS}"', None, "Drop it.")
    floor, cap = recipe.floor, recipe.cap
    if floor is not None and floor < 0:
        yield Problem(f"floor must not be negative, got {floor}")
    if cap is not None and cap < max(1, floor or 0):
        yield Problem(f"cap must be at least 1 and at least the floor, got {cap}")


def _skewed_problems(recipe: Recipe) -> Iterator[Problem]:
    if not recipe.named_slices:
        yield Problem(
            "a skewed draw needs only, without or shares",
            None,
            'Name slices, for example only = ["noise = 0"].',
        )
    shares = recipe.shares or {}
    wrong = {name: share for name, share in shares.items() if not 0 < share <= 1}
    for name, share in wrong.items():
        yield Problem(f'the share of "{name}" must lie in (0, 1], got {share}')
    total = sum(map(exact_share, shares.values())) if not wrong else Fraction(0)
    if total > 1:
        yield Problem(f"shares add up to {float(total):g}, more than 1", None, "Lower some.")
