"""What a user declares: how to choose a calibration set.

Every kind of recipe is a subclass of :class:`Recipe` in a file of its own: its settings, what it
has to know of the candidates, how it draws, and how it is told in words. Entry points of the group
``calaudit.recipes`` name them (:mod:`calaudit.sampling.kinds`), so another package can add one.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import DrawError, Notice, Problem, SettingsError
from calaudit.runtime.pool import Rows
from calaudit.runtime.settings import as_values, setting
from calaudit.sampling.keys import Keys
from calaudit.slices.dimension import Dimension
from calaudit.slices.sliceset import SliceSet

Role = Literal["candidate", "control"]
"""What a calibration set is there for: a candidate may ship, a control shows what would happen."""
FP32_LOSS = "fp32-loss"
"""The deviation that is computed, not read: the loss of the FP32 model on each sample."""


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

    @property
    def title(self) -> str:
        """What it is, for a sentence."""
        return self.tap or ", ".join(self.columns) or f"{self.pca} principal components"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a recipe has to know of the candidates, beside their rows."""

    dimensions: tuple[Dimension, ...] = ()
    """Dimensions whose slices they are in."""
    slices: tuple[str, ...] = ()
    """Names of slices, or SQL predicates, each once."""
    deviation: str | None = None
    """A numeric column, or :data:`FP32_LOSS`."""
    loss: Loss | None = None
    """With :data:`FP32_LOSS`: which output and target."""
    embedding: Embedding | None = None
    ids: bool = False

    def __post_init__(self) -> None:
        every: dict[str, type] = {"dimensions": Dimension, "slices": str}
        for name, kind in every.items():
            value = getattr(self, name)
            if not isinstance(value, tuple) or not all(isinstance(one, kind) for one in value):
                raise TypeError(f"{name} must be a tuple of {kind.__name__} (got {value!r})")
        optional: dict[str, type] = {"deviation": str, "loss": Loss, "embedding": Embedding}
        for name, kind in optional.items():
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise TypeError(f"{name} must be {kind.__name__} or None (got {value!r})")

    @property
    def model(self) -> bool:
        """Whether the FP32 model's outputs are needed."""
        tap = self.embedding is not None and self.embedding.tap is not None
        return tap or self.deviation == FP32_LOSS


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Samples that may be drawn, and what the recipe needs to know about them."""

    rows: Rows
    """(n,) pool rows, ascending."""
    strata: SliceSet | None = None
    """Slices over these n rows: the recipe's dimensions, and every slice it names."""
    deviation: NDArray[np.float64] | None = None
    """(n,) the variable that :attr:`Needs.deviation` names."""
    embedding: NDArray[np.floating] | None = None
    """(n, d) what :attr:`Needs.embedding` describes."""
    ids: NDArray[np.str_] | None = None
    """(n,) sample ids."""


@dataclass(frozen=True, slots=True)
class StratumDraw:
    """What one stratum was asked for, and gave."""

    label: str
    population: int
    """Candidates N_h in it."""
    asked: int
    """What the recipe asks for, as if the stratum couldn't run out."""
    drawn: int
    """n_h ≤ N_h."""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """Which of the candidates a recipe takes."""

    positions: NDArray[np.int64]
    """(size,) places among the candidates, each once, in any order."""
    weights: NDArray[np.float64]
    """(size,) how many candidates each stands for, relative to the others: mean 1."""
    strata: tuple[StratumDraw, ...]
    notices: tuple[Notice, ...] = ()


@setting
class Recipe(ABC):
    """How to choose `size` samples, without replacement: what all kinds share.

    A kind adds its own settings as fields; their names are keys of a recipe file.
    """

    kind: ClassVar[str]
    """What recipe files call the kind: the name of its entry point."""

    name: str
    """What reports call the set. It also enters the seed: two recipes never share a stream."""
    size: int
    seed: int | None = None
    """Default: the command's or the audit's seed."""
    candidates: str | None = None
    """SQL predicate over columns; default: every sample that isn't evaluated."""
    role: Role | None = None
    """In an audit; default candidate. It changes nothing about the draw."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if isinstance(value := getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(value))
        problems = [*_problems(self), *self.problems()]
        if problems:
            raise SettingsError.of(problems)

    @abstractmethod
    def choose(self, candidates: Candidates, keys: Keys) -> Choice:
        """Choose `size` of the candidates.

        Parameters
        ----------
        candidates : Candidates
            At least `size` of them, with what :attr:`needs` asks for.
        keys : uint64 (n,)
            One permanent random number per candidate, from the seed and its row alone; the only
            chance that a draw may rest on.

        Raises
        ------
        DrawError
            It can't be done with these candidates.
        SliceError
            A slice is named that the candidates' strata don't have.
        """

    def problems(self) -> Iterator[Problem]:
        """What makes no sense about the kind's own settings."""
        return iter(())

    @property
    def needs(self) -> Needs:
        """What :meth:`choose` has to know of the candidates."""
        return Needs()

    def check(self, candidates: Candidates) -> None:  # noqa: B027  # most have nothing to refuse
        """Refuse what :meth:`choose` would, as far as the candidates tell.

        Deviation and embedding are missing where they would have to be computed.

        Raises
        ------
        DrawError, SliceError
            As :meth:`choose`.
        """

    def settled(self, candidates: Candidates) -> bool:
        """Whether every seed chooses the same samples, as far as the candidates tell.

        Deviation, embedding and ids may be missing.
        """
        return False

    def details(self) -> str:
        """The kind's own settings in words, such as ``"equal over noise × label"``."""
        return ""

    @classmethod
    def completed(cls, values: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
        """The keys of a recipe with what other files hold of it; most kinds need none.

        Parameters
        ----------
        values : mapping
            As the recipe file has them, `kind` left out.
        folder : Path
            What paths are relative to.

        Raises
        ------
        SettingsError
            A file can't be read.
        """
        return values

    @property
    def choice(self) -> dict[str, Any]:
        """All that decides which samples are drawn, as JSON values."""
        values = as_values(self)
        values.pop("role")
        return {"name": values.pop("name"), "kind": self.kind, **values}

    def to_json(self) -> str:
        """What decides the draw as JSON text, without what is left at its default."""
        return json.dumps(_pruned(self.choice), ensure_ascii=False)

    def describe(self) -> str:
        """How the set is drawn, such as ``"stratified, equal over noise × label"``."""
        text = ", ".join(filter(None, (self.kind, self.details())))
        return f"{text}; from {self.candidates}" if self.candidates else text


def check_finite(values: NDArray[np.floating], what: str) -> None:
    """Refuse values (n, …) of which some are NaN or infinite. Raises `DrawError`."""
    bad = int(np.count_nonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1)))
    if bad:
        raise DrawError(
            f"{what} is missing or infinite for {bad} of {len(values)} candidates",
            next_step="Choose another column, or leave these samples out of the candidates.",
        )


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
