"""Does a model fit a pool? All mismatches at once."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from calaudit.errors import ModelError, Problem, near
from calaudit.graph.model import ModelTensor
from calaudit.pool import TensorSpec


def check_pool_matches(
    model_inputs: Iterable[ModelTensor],
    pool_inputs: Mapping[str, TensorSpec],
    *,
    where: str | None = None,
) -> None:
    """Check that a pool holds every input of a model, with its element type and shape.

    Parameters
    ----------
    model_inputs : iterable of ModelTensor
        The model's inputs; free sizes match anything.
    pool_inputs : mapping
        The pool's inputs by name; those the model doesn't have are ignored.
    where : str, optional
        The pool's path, for the message.

    Raises
    ------
    ModelError
        Missing inputs (with the near names), other element types, other shapes.
    """
    problems: list[Problem] = []
    for wanted in model_inputs:
        name = wanted.name
        if name not in pool_inputs:
            message = f"the pool has no input {name}, which the model takes"
            problems.append(Problem(message, where, near(name, pool_inputs)))
            continue
        found = pool_inputs[name]
        if found.dtype != wanted.dtype:
            problems.append(
                Problem(
                    f"input {name} is {found.dtype} in the pool and {wanted.dtype} in the model",
                    where,
                    _stored_as(wanted.dtype, found.dtype),
                )
            )
        if not _fits(found.shape, wanted.shape):
            problems.append(
                Problem(
                    f"input {name} has samples of shape {_shown(found.shape)} in the pool and "
                    f"{_shown(wanted.shape)} in the model",
                    where,
                    "Preprocess the samples as the model was trained, or export it for this shape.",
                )
            )
    if problems:
        raise ModelError.of(problems)


def _stored_as(dtype: np.dtype[Any], found: np.dtype[Any]) -> str:
    if dtype.kind == "f" and found == np.uint8:
        # Of the type alone a model trained on 0 … 1 would get 0 … 255.
        return (
            f"Scale the values as in training and import the pool again as {dtype}: an array's "
            f"stay 0 … 255 under calaudit pool import --dtype {dtype}, so divide them before; an "
            "image's are divided by 255, or by divide_by in the file of calaudit pool import "
            "--config. Or export the model for the pool's type."
        )
    if dtype.kind in "biuf":
        return (
            f"Import the pool again with calaudit pool import --dtype {dtype}, or export the model "
            "for the pool's type."
        )
    return (
        f"A pool can't hold {dtype}: export the model with float32 inputs and outputs, and casts "
        f"to {dtype} inside."
    )


def _fits(found: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(found) == len(wanted) and all(
        size is None or size == given for given, size in zip(found, wanted, strict=True)
    )


def _shown(shape: tuple[int | None, ...]) -> str:
    return "×".join("any" if size is None else str(size) for size in shape) or "()"
