"""Kinds of task of other packages that break: an error that names package, file and line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from calaudit.formats.pool import open_pool
from calaudit.formats.predictions import write_predictions
from calaudit.runtime.errors import SettingsError
from calaudit.slices.dimension import Dimension
from calaudit.slices.evaluate import evaluate_slices
from calaudit.tasks.base import TASKS, EvalSet
from calaudit.tasks.reading import parse_task, propose_tasks, read_eval_sets, rows_to_predict
from tests.audit.world import AUDIT, make_world
from tests.cli.running import calaudit
from tests.packages import installed, package_of
from tests.tasks.worlds import WORLDS, N

HEAD = """from dataclasses import replace
from typing import ClassVar

import numpy as np
from calaudit.metrics.truth import Labels, Values
from calaudit.runtime.settings import setting
from calaudit.slices.sliceset import SliceSet
from calaudit.tasks.base import Task

@setting
class Odd(Task):
    kind: ClassVar[str] = "odd"
    truth: ClassVar[type] = Labels
    proposed: ClassVar[int] = -1
    target: str = "label"
    output: str | None = None
    metrics: tuple[str, ...] = ("top1",)

    def whole(self, samples, **more):
        return samples.eval_set(self, Labels(samples.target(self.target)), target="label", **more)

    def read(self, samples):
        return self.whole(samples)
"""
WORLD = WORLDS["classification"]
OFFER = "the kind of task 'odd' of the package odd"


@contextmanager
def kind(folder: Path, own: str, text: str = HEAD) -> Iterator[None]:
    """The package ``odd``, whose kind ``odd`` has members of its own (indented)."""
    made = package_of(folder / "odd", "odd", {"calaudit.tasks": {"odd": "Odd"}}, text + own)
    with installed(made, folder / "metadata"):
        yield


def everything(folder: Path) -> EvalSet:
    """All that is asked of a task before and while its answers are scored."""
    world = WORLD()
    task = parse_task({"kind": "odd", "output": next(iter(world.outputs))}, where="a.toml", at="t")
    with open_pool(world.write(folder / "pool.h5")) as pool:
        evaluated = np.arange(N)
        slices = evaluate_slices([Dimension(by="half")], pool)
        rows_to_predict([task], pool, evaluated)
        (eval_set,) = read_eval_sets(task, pool, evaluated, slices, tuple(world.outputs), where="a")
        task.check(eval_set, 3, pool)
        found = write_predictions(folder / "p.h5", evaluated, [dict(world.outputs)])
        answers = eval_set.answers(found, found)
        task.gives_probabilities(eval_set, answers)
        list(task.notices(eval_set, probabilities=False))
        eval_set.ids(evaluated[3:5])
        eval_set.truth.take(evaluated[:2])
        propose_tasks(pool, (), lambda _: None)
    return eval_set


def test_a_kind_that_keeps_its_contract_stays_as_it_is(tmp_path: Path) -> None:
    own = """
    @classmethod
    def propose(cls, pool, outputs, closing):
        from calaudit.tasks.base import Proposed
        return Proposed({"kind": "odd"}, "why", ())
"""
    with kind(tmp_path, own):
        assert len(everything(tmp_path).truth) == N


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ("def outputs(self, known, where): return float('fast')", "failed in outputs .*ValueErr"),
        ("def outputs(self, known, where): return ('no',)", "gave 'no', which is no output of the"),
        ("def outputs(self, known, where): return ()", "gave no output from outputs"),
        ("def outputs(self, known, where): return None", "gave NoneType from outputs, expected"),
        ("def more_rows(self, pool, where): return 3", "gave int from more_rows, expected rows"),
        ("def read(self, samples): return {}['x']", "failed in read .*line .*: KeyError: 'x'"),
        ("def read(self, samples): return None", "gave NoneType from read, expected an EvalSet"),
        ("def check(self, *_): return 1 / 0", "failed in check .*ZeroDivisionError"),
        ("def gives_probabilities(self, *_): return None", "gave NoneType from gives_probabil"),
        ("def notices(self, *_, **__): yield 'text'", "from notices, expected values of Notice"),
        ("propose = classmethod(lambda cls, *_: 'odd')", "gave str from propose, expected Propos"),
        ("propose = classmethod(lambda cls, *_: {}['x'])", "failed in propose .*KeyError: 'x'"),
        ("def read(self, s): return self.whole(s, answer=lambda p, r, u: {}['x'])",
         "failed in answer .*odd_members.py, line 25.: KeyError: 'x'"),
        ("def read(self, s): return self.whole(s, answer=lambda p, r, u: s.read(p, u)[:-1])",
         "gave float32 of shape .* from answer, expected numbers or objects for each of"),
        ("def read(self, s): return self.whole(s, answer=lambda p, r, u: [1])",
         "gave list from answer, expected an array"),
        ("def read(self, s): return self.whole(s, answer=lambda p, r, u: s.read(p, u).astype('D'))",
         "gave complex128 of shape"),
        ("def read(self, s): return self.whole(s, slices=SliceSet(3))",
         f"read an EvalSet that has a truth of {N} units and slices of 3"),
        ("def read(self, s): return self.whole(s, unit_of_row=np.arange(3))",
         r"has a unit_of_row of shape \(3,\), expected"),
        ("def read(self, s): return self.whole(s, unit_of_row=np.zeros(len(s.evaluated), int))",
         "has a unit_of_row that doesn't name each of the"),
        ("def read(self, s): return replace(self.whole(s), metrics=())", "has no metrics"),
        ("def read(self, s): return self.whole(s, ids=lambda at: ['one'])", "gave 1 ids for 2"),
        ("def read(self, s): return self.whole(s, ids=lambda at: [1, 2])",
         "gave list with int in it from ids, expected texts"),
    ],
)  # fmt: skip
def test_what_breaks_the_contract_names_the_package(tmp_path: Path, own: str, told: str) -> None:
    with kind(tmp_path, f"\n    {own}\n"), pytest.raises(SettingsError, match=told) as caught:
        everything(tmp_path)
    assert OFFER in str(caught.value)


def test_a_truth_of_its_own_that_fails_is_named(tmp_path: Path) -> None:
    truth = """
class Own:
    what = "numbers"
    where_from = "Use an odd task."
    def __init__(self, n): self.n = n
    def __len__(self): return self.n
    def take(self, rows): return {}["x"]

"""
    text = HEAD.replace("\n@setting", truth + "\n@setting").replace("type] = Labels", "type] = Own")
    own = """
    def read(self, samples):
        return replace(self.whole(samples), truth=Own(len(samples.evaluated)))
"""
    text = text.replace('("top1",)', '("top1_agreement",)')
    with kind(tmp_path, own, text), pytest.raises(SettingsError) as caught:
        everything(tmp_path)
    assert f"the truth of {OFFER} failed in take (" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("    truth: ClassVar[type] = Labels\n", "", "lacks truth"),
        ('    metrics: tuple[str, ...] = ("top1",)\n', "", "lacks metrics"),
        ("@setting\n", "", "isn't made by calaudit.runtime.settings.setting"),
        ("def read", "def reed", "lacks read"),
    ],
)
def test_a_class_that_cannot_serve_is_refused_when_it_is_asked_for(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    with (
        kind(tmp_path, "", HEAD.replace(old, new)),
        pytest.raises(SettingsError, match=told) as caught,
    ):
        TASKS.load("odd")
    assert OFFER in str(caught.value)


def test_an_audit_ends_with_2_where_a_kind_of_task_fails_while_it_is_judged(tmp_path: Path) -> None:
    text = AUDIT.replace('kind = "classification"', 'kind = "odd"')
    audit = make_world(tmp_path, n=400, audit=text)
    own = "\n    def rivals(self, case, k):\n        return [case.nothing]\n"
    with kind(tmp_path, own):
        ended = calaudit("compare", audit)
    assert ended.status == 2, ended.err
    assert f"{OFFER} failed in rivals (" in ended.err
    assert "odd_members.py, line 26): AttributeError" in ended.err


def test_it_cannot_change_the_answers_it_is_given(tmp_path: Path) -> None:
    own = """
    def gives_probabilities(self, eval_set, answers):
        answers[:] = 1
        return True
"""
    with kind(tmp_path, own), pytest.raises(SettingsError, match=r"line \d+.*read-only"):
        everything(tmp_path)
