"""Recipe → draw: which samples of a pool make a calibration set, and with which weights.

Arrays in, arrays out. A :class:`Recipe` says how to choose (uniform, stratified, skewed, coverage);
:func:`draw` chooses among :class:`Candidates` and returns a :class:`Draw`: rows, weights, what each
stratum was asked for and gave, and notices about every shortage. The same recipe, candidates and
seed give the same rows on every machine.
"""

from calaudit.sampling.allocation import Allocation, allocate, neyman_weights
from calaudit.sampling.composition import SliceDraw, compose
from calaudit.sampling.coverage import herding, k_center
from calaudit.sampling.design import Candidates, check_finite, leaves_no_choice
from calaudit.sampling.draw import Draw, StratumDraw, check_draw, check_size, draw, kish_n_eff
from calaudit.sampling.embedding import principal_components, standardise
from calaudit.sampling.keys import derive_seed, row_keys
from calaudit.sampling.recipe import (
    FP32_LOSS,
    Embedding,
    Loss,
    Recipe,
    Role,
    read_recipe,
    recipe_from_json,
)

__all__ = [
    "FP32_LOSS",
    "Allocation",
    "Candidates",
    "Draw",
    "Embedding",
    "Loss",
    "Recipe",
    "Role",
    "SliceDraw",
    "StratumDraw",
    "allocate",
    "check_draw",
    "check_finite",
    "check_size",
    "compose",
    "derive_seed",
    "draw",
    "herding",
    "k_center",
    "kish_n_eff",
    "leaves_no_choice",
    "neyman_weights",
    "principal_components",
    "read_recipe",
    "recipe_from_json",
    "row_keys",
    "standardise",
]
