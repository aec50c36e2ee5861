"""A bench of engines that a worker runs: on FAKES of TensorRT, pycuda and nvidia-ml-py."""

import pytest

from calaudit.bench.run import bench_audit
from calaudit.results.bench import BenchedEngine
from calaudit.results.report import Report
from tests.audit.test_worker_targets import target
from tests.audit.world import AUDIT, make_world

BENCH = """
[bench]
rounds = 2
seconds = 0.02
warm_up = 0.01
batches = [1, 100]
streams = [1, 2]

[[bench.variants]]
name = "level 5"
optimization_level = 5

[[bench.variants]]
name = "fixed"
shapes = "fixed"
"""


@pytest.fixture(scope="module")
def benched(tmp_path_factory: pytest.TempPathFactory) -> Report:
    text = AUDIT.replace('["minmax", "mse"]', '["minmax"]').replace(
        "batch_size", 'backend = "board"\nbatch_size', 1
    )
    audit = make_world(
        tmp_path_factory.mktemp("bench"), n=400, audit=text + target("board", weighs=True) + BENCH
    )
    report, _ = bench_audit(audit, tell=lambda notice: None)
    assert report.bench is not None
    return report


def engines(report: Report) -> dict[tuple[str, str], BenchedEngine]:
    assert report.bench is not None
    return {each.key: each for each in report.bench.engines}


def test_engines_are_timed_beside_the_device_under_every_variant(benched: Report) -> None:
    found = engines(benched)
    names = {name for name, _ in found}
    assert {"both/minmax/board", "loud only/minmax/board"} < names
    assert {variant for _, variant in found} == {"", "level 5", "fixed"}
    for (_, variant), each in found.items():
        if variant == "fixed":
            continue
        assert [one.batch for one in each.latencies] == [1, 100]
        assert all(one.device_p50 is not None for one in each.latencies)
        assert {(t.batch, t.streams) for t in each.throughput} == {
            (1, 1), (1, 2), (100, 1), (100, 2)
        }  # fmt: skip
    assert found["both/minmax/board", "level 5"].knobs == {"optimization_level": 5}


def test_fixed_shapes_are_measured_at_their_one_batch_and_the_other_is_told(
    benched: Report,
) -> None:
    fixed = [each for (_, variant), each in engines(benched).items() if variant == "fixed"]
    assert fixed
    assert all([one.batch for one in each.latencies] == [100] for each in fixed)
    assert benched.bench is not None
    assert any("batches of 100 samples" in each.message for each in benched.bench.notices)


def test_memory_layers_and_the_gpu_are_told(benched: Report) -> None:
    found = engines(benched)
    int8 = found["both/minmax/board", ""]
    assert int8.memory is not None
    assert int8.memory.weights_bytes is not None
    assert int8.memory.activations_bytes == 4096
    assert [each.nodes for each in int8.layers if each.precision == "int8"] == [("matmul",)]
    assert {node for each in int8.layers for node in each.nodes} >= {"matmul", "add"}
    assert int8.gpu is not None
    assert int8.gpu.sm_clock_mhz == 1500
    assert int8.gpu.power_watts is not None
    assert int8.file_bytes is not None


def test_engines_of_variants_lie_beside_the_audits_own(benched: Report) -> None:
    cells = {each.id: each.file for each in benched.cells}
    assert cells["both/minmax/board"] is not None
    assert "level" not in str(cells["both/minmax/board"])


def test_variants_have_their_cells_fingerprint(benched: Report) -> None:
    assert benched.bench is not None
    keys = {
        each.fingerprint for each in benched.bench.engines if each.engine == "both/minmax/board"
    }
    assert len(keys) == 1  # of the cell's own content, whatever the variant
