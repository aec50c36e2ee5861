"""Names from elsewhere, in audit files: the name here is proposed, and each mistake told once."""

from pathlib import Path

import pytest

from calaudit.audit.config import read_audit
from calaudit.runtime.errors import Problem, SettingsError
from tests.audit.world import AUDIT


def problems(folder: Path, *changes: tuple[str, str]) -> tuple[Problem, ...]:
    text = AUDIT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / "audit.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as error:
        read_audit(path)
    return error.value.problems


@pytest.mark.parametrize(
    ("old", "new", "meant"),
    [
        ('kind = "stratified"', 'kind = "random"', "uniform"),
        ("batch_size = 100", "batch_size = 100\ndraws = 3", "replicates"),
        ("batch_size = 100", "batch_size = 100\nrepeats = 3", "replicates"),
        ("batch_size = 100", 'batch_size = 100\nagree_with = ["ort"]', "onnxruntime"),
        ("batch_size = 100", 'batch_size = 100\nbackend = "trt"', "tensorrt"),
        ('methods = ["minmax", "mse"]', 'methods = ["kl"]', "entropy"),
    ],
)
def test_what_is_called_otherwise_elsewhere_is_recognized(
    tmp_path: Path, old: str, new: str, meant: str
) -> None:
    (problem,) = problems(tmp_path, (old, new))
    assert f"Did you mean {meant}?" in str(problem.next_step)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("3", "should be text or a list (got 3)"),
        ("true", "should be text or a list (got true)"),
        ("[3]", "should be text (got 3)"),
    ],
)
def test_a_value_of_a_wrong_type_is_told_once(tmp_path: Path, value: str, message: str) -> None:
    (problem,) = problems(tmp_path, ("batch_size = 100", f"batch_size = 100\ncluster_by = {value}"))
    assert problem.message == message


@pytest.mark.parametrize("key", ["file", "recipe"])
def test_a_recipes_size_cannot_stand_beside_a_file(tmp_path: Path, key: str) -> None:
    old = 'size = 40\ncandidates = "split'
    (problem,) = problems(tmp_path, (old, f'{key} = "set.h5"\n{old}'))
    assert f"size and candidates can't stand beside {key}" in problem.message
    assert str(problem.where).endswith("calibsets[0]")
    assert problem.next_step == f"Drop size and candidates, or describe a recipe without {key}."
