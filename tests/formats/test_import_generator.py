import sys
from pathlib import Path

import numpy as np
import pytest

from calaudit.formats.importers.generator import import_generator, is_reference
from calaudit.formats.pool import open_pool
from calaudit.runtime.errors import CalauditError, PoolError, SettingsError
from tests.cli.running import calaudit

MODULE = """
import numpy as np

def samples():
    for i in range(150):
        yield {
            "inputs": {"x": np.full((2, 3), i, np.float32)},
            "targets": {"label": i % 10},
            "meta": {"noise": None if i == 5 else i / 10, "place": "street" if i % 2 else ""},
            "id": f"clip-{i}",
        }

class Sized:
    def __len__(self): return 1
    def __iter__(self): return iter([{"inputs": {"x": [1.0, 2.0]}}])

sized = Sized
number = lambda: 3
nothing = lambda: []
texts = lambda: ["a"]
unknown = lambda: [{"inputs": {"x": [1.0]}, "target": {"label": 1}}]
without = lambda: [{"meta": {"a": 1}}]
flat = lambda: [{"inputs": {"x": [1.0]}, "meta": 3}]
shapes = lambda: [{"inputs": {"x": [1.0]}, "id": "a"}, {"inputs": {"x": [1.0, 2.0]}, "id": "b"}]
names = lambda: [{"inputs": {"x": [1.0]}}, {"inputs": {"x": [1.0]}, "meta": {"a": 1}}]
half_ids = lambda: [{"inputs": {"x": [1.0]}}, {"inputs": {"x": [1.0]}, "id": "a"}]
ragged = lambda: [{"inputs": {"x": [[1.0], [1.0, 2.0]]}}]
nan = lambda: [{"inputs": {"x": [float("nan")]}, "id": "bad-one"}]
same = lambda: [{"inputs": {"x": [1.0]}, "id": "a"}] * 2

def missing_file():
    yield {"inputs": {"x": [1.0]}}
    open("/no/such/file")
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"made_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_samples_of_a_function_become_a_pool(module: str, tmp_path: Path) -> None:
    assert import_generator(f"{module}:samples", tmp_path / "p.h5").n == 150
    with open_pool(tmp_path / "p.h5") as pool:
        assert len(pool) == 150
        assert pool.ids(np.array([149])).tolist() == ["clip-149"]
        np.testing.assert_array_equal(
            pool.read_inputs(np.array([70]))["x"], np.full((1, 2, 3), 70, np.float32)
        )
        frame = pool.columns(["noise", "place", "label"])
    assert frame["label"].to_list() == [i % 10 for i in range(150)]
    assert frame["noise"].null_count() == 1
    assert frame["place"].null_count() == 75


def test_an_iterable_with_a_length_is_taken(module: str, tmp_path: Path) -> None:
    assert import_generator(f"{module}:sized", tmp_path / "p.h5").n == 1


@pytest.mark.parametrize(
    ("function", "kind", "said"),
    [
        ("sampels", SettingsError, "Did you mean samples"),
        ("number", PoolError, "returned int"),
        ("nothing", PoolError, "no samples"),
        ("texts", PoolError, "is str, not a mapping"),
        ("unknown", PoolError, "Did you mean targets"),
        ("without", PoolError, "has no inputs"),
        ("flat", PoolError, "meta is int, not a mapping"),
        ("shapes", PoolError, r"shape \(2,\) in sample 'b', \(1,\) in sample 'a'"),
        ("names", PoolError, r"sample 1 has meta a, others \(none\)"),
        ("half_ids", PoolError, "some samples have an id"),
        ("ragged", PoolError, "isn't a plain array"),
        ("nan", PoolError, "NaN or infinity in 1 sample: bad-one"),
        ("same", PoolError, "more than once: 'a'"),
        ("missing_file", PoolError, "No such file"),
    ],
)
def test_a_function_that_yields_something_else_is_refused_and_nothing_is_left(
    module: str, tmp_path: Path, function: str, kind: type[CalauditError], said: str
) -> None:
    with pytest.raises(kind, match=said) as caught:
        import_generator(f"{module}:{function}", tmp_path / "p.h5")
    assert all(problem.next_step for problem in caught.value.problems)
    assert not [path for path in tmp_path.iterdir() if "p.h5" in path.name]


def test_a_module_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no module 'no_such_module'"):
        import_generator("no_such_module:samples", tmp_path / "p.h5")


RAISES = """import numpy as np
def falls():
    for i in range(5):
        if i == 3:
            raise ValueError("disk fell over")
        yield {"inputs": {"x": np.ones(2, np.float32)}}

def at_once():
    raise RuntimeError

def leaves():
    yield {"inputs": {"x": [1.0]}}
    raise SystemExit(1)

def within_numpy():
    yield {"inputs": {"x": np.ones(2, np.float32)}}
    np.concatenate([np.ones(2), np.ones((2, 2))])

def stopped():
    yield {"inputs": {"x": [1.0]}}
    raise KeyboardInterrupt
"""


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("falls", "failed at sample 3 (raises_now.py, line 5): ValueError: disk fell over"),
        ("at_once", "failed (raises_now.py, line 9): RuntimeError"),
        ("leaves", "failed at sample 1 (raises_now.py, line 13): SystemExit: 1"),
        ("within_numpy", "failed at sample 1 (raises_now.py, line 17): ValueError: all the input"),
    ],
)
def test_what_a_function_raises_ends_the_command_as_bad_input_does_and_names_the_line(
    tmp_path: Path, function: str, said: str
) -> None:
    (tmp_path / "raises_now.py").write_text(RAISES)
    sys.modules.pop("raises_now", None)
    ended = calaudit("pool", "import", f"raises_now:{function}", "p.h5")
    assert ended.status == 2
    assert f"calaudit: error: raises_now:{function} {said}" in ended.err
    assert not list(tmp_path.glob("*p.h5*"))


def test_a_request_to_end_within_a_function_stays_one(tmp_path: Path) -> None:
    (tmp_path / "raises_now.py").write_text(RAISES)
    sys.modules.pop("raises_now", None)
    with pytest.raises(KeyboardInterrupt):
        import_generator("raises_now:stopped", tmp_path / "p.h5")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\nimport no_such_thing\n", "line 2): ModuleNotFoundError: No module named"),
        ("from numpy import no_such_name\n", "line 1): ImportError: cannot import name"),
        ("x = 1\ndef f(:\n", "line 2): SyntaxError: invalid syntax"),
        ("1 / 0\n", "line 1): ZeroDivisionError: division by zero"),
        ("raise SystemExit(1)\n", "line 1): SystemExit: 1"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_the_line(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "breaks_now.py").write_text(text)
    ended = calaudit("pool", "import", "breaks_now:f", "p.h5")
    assert ended.status == 2
    assert f"module 'breaks_now' can't be imported (breaks_now.py, {said}" in ended.err


def test_a_reference_is_told_from_a_path() -> None:
    assert is_reference("package.module:samples")
    assert not is_reference("C:/data.csv")
    assert not is_reference("data.npz")


KINDS = """
import numpy as np

def one(**parts):
    return {"inputs": {"x": np.ones(2, np.float32)}, **parts}

def masked_input():
    yield {"inputs": {"x": np.ma.masked_array(np.ones(2, np.float32), mask=[0, 1])}}

def masked_meta():
    yield one(meta={"m": np.ma.masked}, targets={"y": 1})
    yield one(meta={"m": 2**53 + 1}, targets={"y": np.ma.masked})

def masked_target():
    yield one(targets={"y": np.ma.masked_array([1.0, 2.0], mask=[1, 0])})

def large():
    for i in range(130):
        yield one(meta={"m": 2**63 if i > 100 else i}, targets={"y": 2**64 - 1 if i > 100 else i})

def words():
    yield one(targets={"y": "a"})
    yield one(targets={"y": 1})

def decimals():
    for value in (0.7, 0.1):
        yield one(meta={"m": np.float32(value)}, targets={"y": np.float32(value)})

def mixed():
    yield {"inputs": {"x": np.array([2**53 + 1])}}
    yield {"inputs": {"x": np.array([0.5])}}

def nan_text():
    yield one(meta={"m": "a"}, targets={"y": "b"})
    yield one(meta={"m": float("nan")}, targets={"y": None})
"""


@pytest.fixture
def kinds(module: str, tmp_path: Path) -> str:
    (tmp_path / f"{module}_kinds.py").write_text(KINDS)
    return f"{module}_kinds"


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("masked_input", "'x' in sample 0 holds masked elements"),
        ("masked_target", "'y' in sample 0 holds masked elements"),
        ("words", "'targets/y' holds mixed or unsupported values"),
        ("mixed", "'x' is int64 in sample 0 and float64 with others, which would round it"),
    ],
)
def test_values_that_numpy_would_change_without_a_word_are_refused(
    kinds: str, tmp_path: Path, function: str, said: str
) -> None:
    with pytest.raises(PoolError, match=said):
        import_generator(f"{kinds}:{function}", tmp_path / "p.h5")


@pytest.mark.parametrize(
    ("function", "read"),
    [
        ("masked_meta", {"m": [None, 2**53 + 1], "y": [1, None]}),
        ("decimals", {"m": [0.7, 0.1], "y": [0.7, 0.1]}),
        ("nan_text", {"m": ["a", None], "y": ["b", None]}),
        (
            "large",
            {"m": [2**63 if i > 100 else i for i in range(130)]}
            | {"y": [2**64 - 1 if i > 100 else i for i in range(130)]},
        ),
    ],
)
def test_values_keep_what_they_are_from_batch_to_batch(
    kinds: str, tmp_path: Path, function: str, read: dict[str, list[object]]
) -> None:
    import_generator(f"{kinds}:{function}", tmp_path / "p.h5")
    with open_pool(tmp_path / "p.h5") as pool:
        assert pool.columns(["m", "y"]).to_dict(as_series=False) == read


OBJECTS = """
import numpy as np

def cells():
    for i in range(70):  # more than a batch
        yield {
            "inputs": {"x": np.zeros((3, 4, 4), np.float32)},
            "targets": {"cells": {
                "boxes": np.array([[0, 0, 1 + k, 2] for k in range(i % 3)]),
                "label": np.full(i % 3, i % 2),
                "columns": {"age": np.arange(i % 3)},
            }},
        }

def wrong_shape():
    yield {"inputs": {"x": [1.0]}, "targets": {"cells": {"boxes": [[1, 2, 3]], "label": [0]}}}

def without_label():
    yield {"inputs": {"x": [1.0]}, "targets": {"cells": {"boxes": []}}}

def near_key():
    yield {"inputs": {"x": [1.0]}, "targets": {"cells": {"boxs": [], "boxes": [], "label": []}}}

def once():
    yield {"inputs": {"x": [1.0]}, "targets": {"cells": {"boxes": [], "label": []}}}
    yield {"inputs": {"x": [1.0]}, "targets": {"cells": 1}}
"""


@pytest.fixture
def objects(module: str, tmp_path: Path) -> str:
    (tmp_path / f"{module}_objects.py").write_text(OBJECTS)
    return f"{module}_objects"


def test_objects_of_each_image_are_written_as_objects(objects: str, tmp_path: Path) -> None:
    import_generator(f"{objects}:cells", tmp_path / "p.h5", classes={"cells": ["red", "white"]})
    with open_pool(tmp_path / "p.h5") as pool:
        found = pool.read_objects("cells", np.arange(70))
    assert found.classes == ("red", "white")
    assert found.counts.tolist() == [i % 3 for i in range(70)]
    assert found.label.tolist() == [i % 2 for i in range(70) for _ in range(i % 3)]
    assert found.columns["age"].tolist() == [k for i in range(70) for k in range(i % 3)]
    assert found.area.tolist() == [2 * (1 + k) for i in range(70) for k in range(i % 3)]


@pytest.mark.parametrize(
    ("function", "named", "said"),
    [
        ("cells", {}, "the classes of cells have no names"),
        ("wrong_shape", {"cells": ["a"]}, "sample 0: targets: cells: image 0: boxes have shape"),
        ("without_label", {"cells": ["a"]}, "sample 0: targets: cells has no label"),
        ("near_key", {"cells": ["a"]}, "unknown key 'boxs'\n  → Did you mean boxes?"),
        ("once", {"cells": ["a"]}, "'cells' holds objects in some samples and not in sample 1"),
    ],
)
def test_objects_that_make_no_sense_are_told_with_their_sample(
    objects: str, tmp_path: Path, function: str, named: dict[str, list[str]], said: str
) -> None:
    with pytest.raises(PoolError) as caught:
        import_generator(f"{objects}:{function}", tmp_path / "p.h5", classes=named)
    assert said in str(caught.value)
