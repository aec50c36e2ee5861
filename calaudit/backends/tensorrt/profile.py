"""Shapes that an engine takes: the optimization profile of a model's free axes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calaudit.graph.model import Model
from calaudit.runtime.errors import BackendError, Problem
from calaudit.runtime.words import shape_text

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShapeRange:
    """Shapes one input may have, batch axis included; ``opt`` is what kernels are chosen for."""

    smallest: Shape
    opt: Shape
    largest: Shape


def plan_profile(
    model: Model,
    *,
    max_batch: int,
    opt_batch: int | None = None,
    sizes: Mapping[str, Sequence[int]] | None = None,
    fixed_shapes: bool = False,
) -> dict[str, ShapeRange]:
    """Shape ranges of the inputs that have a free axis; empty for a model without.

    Parameters
    ----------
    model : Model
        Its first axes are batch axes.
    max_batch : int
        Largest batch.
    opt_batch : int, optional
        The batch to choose kernels for; default: the largest.
    sizes : mapping, optional
        Input → per-sample shape (without the batch axis), needed where the model leaves it free.
    fixed_shapes : bool
        Whether the engine is to take the largest batch alone.

    Raises
    ------
    BackendError
        An input has free axes besides the batch and no size is given for them. All at once.
    """
    given = sizes or {}
    opt = min(opt_batch or max_batch, max_batch)
    ranges: dict[str, ShapeRange] = {}
    problems: list[Problem] = []
    for spec, value in zip(model.inputs, model.proto.graph.input, strict=True):
        sample = tuple(given.get(spec.name, spec.shape))
        if None in sample or len(sample) != len(spec.shape):
            problems.append(
                Problem(
                    f"input {spec.name} leaves sizes open ({shape_text(spec.shape)} per sample)",
                    model.label,
                    "Name the shape of its samples, as a pool does.",
                )
            )
            continue
        fixed = value.type.tensor_type.shape.dim[0].dim_value == 1
        if fixed and None not in spec.shape:
            continue
        batches = (1, 1, 1) if fixed else (1, opt, max_batch)
        batches = (batches[-1],) * 3 if fixed_shapes else batches
        made = [(batch, *(size for size in sample if size is not None)) for batch in batches]
        ranges[spec.name] = ShapeRange(*made)
    if problems:
        raise BackendError.of(problems)
    return ranges
