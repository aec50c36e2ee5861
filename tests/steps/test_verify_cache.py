from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from calaudit.calibration.scales import ScaleTable, TapScale, scale_of
from calaudit.formats.trt_header import TrtVersion
from calaudit.graph.load import load_model
from calaudit.graph.network import import_network
from calaudit.runtime.errors import FileFormatError, ModelError
from calaudit.steps.verify_cache import Verification, verify_cache
from tests.graph import models
from tests.graph.models import Sketch
from tests.steps.cached import edit, table_for, write_cache, write_model

Kinds = list[tuple[str, str | None]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture
def cache(tmp_path: Path, model: Path) -> Path:
    return write_cache(tmp_path / "f.cache", table_for(model))


def taps_of(model: Path) -> tuple[str, ...]:
    return import_network(load_model(model)).names


def kinds(found: Verification) -> Kinds:
    return [(finding.code, finding.where) for finding in found.findings]


def verify(cache: Path, model: Path | None = None) -> Kinds:
    return kinds(verify_cache(cache, model, try_random=False))


def test_a_cache_of_the_model_on_real_data_is_clean(cache: Path, model: Path) -> None:
    found = verify_cache(cache, model)
    assert kinds(found) == []
    assert found.notices == ()
    assert found.n_taps == 38


def test_an_operator_of_unknown_layers_is_noted_as_when_the_cache_was_written(
    tmp_path: Path,
) -> None:
    s = Sketch()
    s.nodes.append(
        helper.make_node(
            "LSTM", ["x", s.weight("W", 1, 20, 12), s.weight("R", 1, 20, 5)], ["y"], hidden_size=5
        )
    )
    model = tmp_path / "m.onnx"
    onnx.save(s.model({"x": ("t", "n", 12)}, {"y": ("t", 1, "n", 5)}), str(model))
    network = import_network(load_model(model))
    (told,) = [each for each in network.notices if each.code == "names_unsure"]
    scale = scale_of(2.5)
    taps = {name: TapScale(2.5, scale) for name in network.names}
    path = write_cache(tmp_path / "f.cache", ScaleTable(taps, "minmax", "some"))
    assert told in verify_cache(path, model, try_random=False).notices


def test_without_a_model_names_are_noted_as_unchecked(cache: Path) -> None:
    found = verify_cache(cache)
    assert kinds(found) == []
    assert [notice.code for notice in found.notices] == ["no_model"]
    assert found.n_taps is None


@pytest.mark.parametrize(
    ("new", "kind", "step"),
    [
        ("TRT-8XXX-MinMaxCalibration", "version", "calaudit cache convert"),
        ("TRT-110000-MinMaxCalibration", "version", "calaudit cache convert"),
        ("TRT-8601-MinmaxCalibration", "algorithm", "Did you mean MinMaxCalibration"),
    ],
)
def test_a_header_that_tensorrt_doesnt_write_is_found(
    cache: Path, model: Path, new: str, kind: str, step: str
) -> None:
    edit(cache, "TRT-8601-MinMaxCalibration", new)
    found = verify_cache(cache, model, try_random=False)
    assert kinds(found) == [(kind, "line 1")]
    assert step in str(found.findings[0].next_step)


def test_a_missing_header_is_found(cache: Path, model: Path) -> None:
    edit(cache, "TRT-8601-MinMaxCalibration\n", "")
    found = verify_cache(cache, model, try_random=False)
    assert kinds(found) == [("no_header", "line 1")]
    assert "calibrate again" in found.findings[0].message


def test_the_reading_tensorrt_must_fit(cache: Path) -> None:
    def against(version: str, algorithm: str = "MinMaxCalibration") -> Verification:
        return verify_cache(cache, version=TrtVersion.parse(version), algorithm=algorithm)

    assert kinds(against("8.6.1")) == []
    assert kinds(against("10.3.0")) == [("version", "line 1")]
    assert kinds(against("8.5.0")) == []
    assert [notice.code for notice in against("8.5.0").notices] == ["other_version", "no_model"]
    assert kinds(against("8.6.1", "EntropyCalibration2")) == [("algorithm", "line 1")]


def test_unreadable_lines_are_findings_with_their_numbers(cache: Path, model: Path) -> None:
    with cache.open("a") as file:
        file.write("y = 0.3\n")
    assert verify(cache, model) == [("unreadable_line", "line 40")]


def test_missing_taps_and_unknown_names_are_found(cache: Path, model: Path) -> None:
    tap = taps_of(model)[1]
    edit(cache, f"\n{tap}: ", f"\n{tap}_quantized: ")
    assert verify(cache, model) == [
        ("missing_tap", f"tap '{tap}'"),
        ("unknown_name", f"tap '{tap}_quantized'"),
    ]


def test_names_that_another_parser_makes_are_no_findings(cache: Path, model: Path) -> None:
    with cache.open("a") as file:
        file.write("conv0.w_output: 3c010204\n(Unnamed Layer* 3) [Constant]_output: 3c010a14\n")
    found = verify_cache(cache, model, try_random=False)
    assert kinds(found) == []
    (told,) = found.notices
    assert told.code == "other_parser"
    assert told.message.startswith("2 names of tensors that TensorRT's parser adds are others")


def test_what_tensorrts_parser_adds_is_missing_as_much_as_the_models_own(tmp_path: Path) -> None:
    s = models.Sketch()
    s.gemm(s.op("Softmax", [s.op("HardSwish", ["x"], "h")], "p"), "y", 4, 3)
    model = tmp_path / "model.onnx"
    onnx.save(s.model({"x": ("n", 4)}, {"y": ("n", 3)}), str(model))
    table = table_for(model, np.ones((2, 4), np.float32))
    cache = write_cache(tmp_path / "f.cache", table)
    assert verify(cache, model) == []
    swish, product = "(Unnamed Layer* 0) [Activation]", "(Unnamed Layer* 6) [Matrix Multiply]"
    lines = [line for line in cache.read_text().splitlines() if not line.startswith("p: ")]
    cache.write_text("\n".join(line for line in lines if product not in line))
    assert verify(cache, model) == [("missing_tap", f"tap '{product}_output'")]
    edit(cache, "(Unnamed Layer* 0)", "(Unnamed Layer* 1)")
    assert verify(cache, model) == [], f"{swish} may be called otherwise by another version"


def test_unusable_scales_are_found(cache: Path, model: Path) -> None:
    first, second, *_ = taps_of(model)
    text = cache.read_text().splitlines()
    text[1:3] = [f"{first}: 0", f"{second}: 7f800000"]
    cache.write_text("\n".join(text))
    assert verify(cache, model) == [
        ("zero_scale", f"tap '{first}'"),
        ("infinite_scale", f"tap '{second}'"),
    ]


def test_placeholders_are_found_but_an_input_may_end_at_one(cache: Path, model: Path) -> None:
    lines = [cache.read_text().splitlines()[0]]
    scales = dict.fromkeys(taps_of(model), "3c010204")
    scales["x"] = scales["conv3"] = "3c010204"
    cache.write_text("\n".join([*lines, *(f"{tap}: {bits}" for tap, bits in scales.items())]))
    assert verify(cache, model) == [("one_scale", None)]
    varied = {tap: f"3c0102{n:02x}" for n, tap in enumerate(taps_of(model), 16)}
    varied |= {"x": "3c010204", "conv3": "3c010204"}
    cache.write_text("\n".join([*lines, *(f"{tap}: {bits}" for tap, bits in varied.items())]))
    assert verify(cache, model) == [("default_scale", "tap 'conv3'")]


def test_scales_that_tensorrt_ignores_are_named_once(cache: Path, model: Path) -> None:
    with cache.open("a") as file:
        file.write("other: 0\nanother: 3c010204\n")
    assert verify(cache, model) == [
        ("unknown_name", "tap 'other'"),
        ("unknown_name", "tap 'another'"),
    ]


def test_tensors_of_integers_may_have_scale_zero(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    onnx.save(models.embedding(), str(model))
    found = tmp_path / "f.cache"
    taps = "\n".join(f"{tap}: 3c8954{n:02x}" for n, tap in enumerate(taps_of(model)))
    found.write_text(f"TRT-8601-EntropyCalibration2\nitem: 0\n{taps}\n")
    assert verify(found, model) == []


def test_a_cache_of_another_model_is_one_finding(cache: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.cache"
    other.write_text("TRT-8601-MinMaxCalibration\nImages: 3c8954be\nFeatures: 3dd33169\n")
    model = write_model(tmp_path / "model.onnx")
    assert verify(other, model) == [("other_model", None)]


def test_a_cache_without_scales_is_found(cache: Path) -> None:
    cache.write_text("TRT-8601-MinMaxCalibration\n")
    assert verify(cache) == [("empty", None)]


@pytest.mark.parametrize("n", [1, 16])
def test_scales_of_random_data_are_recognized(cache: Path, model: Path, n: int) -> None:
    x = np.random.default_rng(5).random((n, 4, 6, 6)).astype(np.float32)
    found = verify_cache(write_cache(cache, table_for(model, x)), model)
    assert kinds(found) == [("random_data", None)]
    assert "uniform in [0, 1)" in found.findings[0].message


def test_random_data_isnt_claimed_from_few_taps(cache: Path, model: Path) -> None:
    x = np.random.default_rng(5).random((16, 4, 6, 6)).astype(np.float32)
    table = table_for(model, x)
    few: dict[str, TapScale] = dict(list(table.taps.items())[:4])
    write_cache(cache, type(table)(few, "minmax", "few"))
    found = verify_cache(cache, model)
    assert {kind for kind, _ in kinds(found)} == {"missing_tap"}
    assert [notice.code for notice in found.notices] == ["random_data_possible"]


def test_what_is_no_cache_or_no_model_is_an_error(cache: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="isn't a TensorRT calibration cache"):
        verify_cache(model)
    with pytest.raises(ModelError, match="no such model file"):
        verify_cache(cache, tmp_path / "absent.onnx")
