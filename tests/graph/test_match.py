import ml_dtypes
import numpy as np
import pytest

from calaudit.graph.load import check_pool_matches
from calaudit.graph.model import ModelTensor
from calaudit.runtime.errors import ModelError
from calaudit.runtime.pool import TensorSpec

F32, I64 = np.dtype(np.float32), np.dtype(np.int64)
WANTED = (ModelTensor("image", F32, (1, 8, None)), ModelTensor("item", I64, ()))


def pool(**specs: tuple[np.dtype, tuple[int, ...]]) -> dict[str, TensorSpec]:
    return {name: TensorSpec(name, dtype, shape) for name, (dtype, shape) in specs.items()}


def test_a_pool_that_fits_passes_with_inputs_to_spare() -> None:
    check_pool_matches(WANTED, pool(image=(F32, (1, 8, 5)), item=(I64, ()), extra=(F32, (2,))))


def test_all_mismatches_are_told_at_once() -> None:
    with pytest.raises(ModelError) as caught:
        check_pool_matches(WANTED, pool(images=(F32, (1, 8, 8)), item=(F32, (3,))), where="pool.h5")
    missing, dtype, shape = caught.value.problems
    assert "no input image" in missing.message
    assert missing.next_step == "Did you mean images?"
    assert "float32 in the pool and int64 in the model" in dtype.message
    assert "shape 3 in the pool and () in the model" in shape.message
    assert {p.where for p in caught.value.problems} == {"pool.h5"}


def test_another_shape_is_refused() -> None:
    with pytest.raises(ModelError, match="1×9×8 in the pool and 1×8×any in the model"):
        check_pool_matches(WANTED, pool(image=(F32, (1, 9, 8)), item=(I64, ())))


def test_another_type_is_told_with_a_way_that_works() -> None:
    half = [ModelTensor("x", np.dtype(np.float16), (2,))]
    with pytest.raises(ModelError, match="calaudit pool import --dtype float16"):
        check_pool_matches(half, pool(x=(F32, (2,))))
    brain = [ModelTensor("x", np.dtype(ml_dtypes.bfloat16), (2,))]
    with pytest.raises(
        ModelError, match="A pool can't hold bfloat16: export the model with float32"
    ):
        check_pool_matches(brain, pool(x=(F32, (2,))))


def test_pixels_under_a_float_model_are_to_be_scaled_and_not_only_converted() -> None:
    taken = [ModelTensor("image", np.dtype(np.float32), (3, 8, 8))]
    pixels = {"image": TensorSpec("image", np.dtype(np.uint8), (3, 8, 8))}
    with pytest.raises(ModelError, match="Scale the values as in training") as caught:
        check_pool_matches(taken, pixels)
    step = caught.value.problems[0].next_step or ""
    assert "--dtype float32" in step
    assert "0 … 255" in step
    assert "divide_by in the file of calaudit pool import --config" in step
