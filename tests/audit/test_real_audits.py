"""The two cases calaudit exists for: real models, real data, where they are."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from calaudit.audit.prepare import Overrides
from calaudit.audit.run import run_audit
from calaudit.results.report import Report
from tests.cli.running import calaudit
from tests.real_pools import DATA, ROOT

pytestmark = [pytest.mark.slow, pytest.mark.data]


def audit(name: str, model: Path, pool: Path, out: Path, **replaced: str) -> Report:
    """Run audits/<name>.toml; `replaced` lines keep a test short."""
    text = (ROOT / "audits" / f"{name}.toml").read_text(encoding="utf-8")
    text = text.replace("../calibsets/", f"{ROOT / 'calibsets'}/")
    text = text.replace("replicates = 3", "replicates = 1")
    for old, new in replaced.items():
        text = text.replace(f"{old} = ", f"{new}\n{old} = ", 1)
    path = out / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    report, _ = run_audit(path, Overrides(model=model, pool=pool))
    return report


def value(report: Report, metric: str, where: str, cell: str, field: str = "drop") -> float:
    found = next(r for r in report.results if (r.metric, r.slice, r.cell) == (metric, where, cell))
    number = getattr(found, field)
    assert number is not None
    return float(number)


SNR = {
    "snr_db = ∞": (0.9367, 0.9767),
    "20 ≤ snr_db < ∞": (0.9467, 0.9817),
    "10 ≤ snr_db < 20": (0.9317, 0.9517),
    "5 ≤ snr_db < 10": (0.8783, 0.9183),
    "0 ≤ snr_db < 5": (0.8283, 0.8683),
    "snr_db < 0": (0.7117, 0.7433),
}
"""FP32 accuracy of the cube-root power and the log-mel model, from the data's README."""


@pytest.fixture(scope="module")
def speech_pools(real_pools: Callable[[str], Path]) -> Path:
    return real_pools("speech")


@pytest.fixture(scope="module")
def speech(speech_pools: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    folder = tmp_path_factory.mktemp("speech")
    return {
        name: audit(
            f"speech-{name}",
            DATA / "speech" / name / "model.onnx",
            speech_pools / name / "pool.h5",
            folder,
            evaluate='methods = ["minmax"]\ntune_samples = 64',
        )
        for name in ("power", "log")
    }


@pytest.mark.parametrize(("column", "name"), enumerate(["power", "log"]))
def test_fp32_accuracy_by_snr_is_the_readmes(
    speech: dict[str, Report], column: int, name: str
) -> None:
    cell = speech[name].cells[0].id
    for where, expected in SNR.items():
        found = value(speech[name], "top1", where, cell, "reference")
        assert found == pytest.approx(expected[column], abs=5e-5)


def test_noisiest_recordings_only_hurt_the_quiet_speaker_of_the_sensitive_model(
    speech: dict[str, Report],
) -> None:
    report = speech["power"]
    cell = next(c.id for c in report.cells if "noisiest" in c.id)
    assert value(report, "top1", "speaker = theo", cell, "low") > 0.05
    assert next(
        r for r in report.results
        if (r.metric, r.slice, r.cell) == ("top1", "speaker = theo", cell)
    ).verdict == "REGRESSED"  # fmt: skip


def test_an_audit_of_the_speech_model_is_proposed_by_speaker_and_noise(
    speech_pools: Path, tmp_path: Path
) -> None:
    model, pool = DATA / "speech" / "log" / "model.onnx", speech_pools / "log" / "pool.h5"
    out = tmp_path / "speech.toml"
    assert calaudit("init", model, pool, "--out", out).status == 0
    written = tomllib.loads(out.read_text(encoding="utf-8"))
    assert [each["by"] for each in written["slices"]] == ["speaker", "snr_db", "rms", "label"]
    assert [each["name"] for each in written["calibsets"]] == [
        "random", "equal", "only speaker = george", "only snr_db = -5",
    ]  # fmt: skip
    assert written["gates"] == [{"metric": "top1", "slices": "*", "max_drop": 0.03}]


def test_negative_control_loses_little_under_any_set(speech: dict[str, Report]) -> None:
    report = speech["log"]
    for cell in report.cells:
        assert value(report, "top1", "all", cell.id) < 0.02


@pytest.fixture(scope="module")
def ranking(real_pools: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Report:
    return audit(
        "ranking",
        DATA / "ranking" / "model.onnx",
        real_pools("ranking"),
        tmp_path_factory.mktemp("ranking"),
        evaluate='methods = ["minmax"]\ntune_samples = 64',
    )


def test_fp32_ranking_is_the_readmes(ranking: Report) -> None:
    cell = ranking.cells[0].id
    for metric, expected in {"ndcg@10": 0.2693, "coverage@10": 0.3739}.items():
        found = value(ranking, metric, "all", cell, "reference")
        assert found == pytest.approx(expected, abs=5e-5)
    # Items tie in popularity at the head's edge: the README's order there isn't ours.
    share = value(ranking, "long_tail_share@10", "all", cell, "reference")
    assert share == pytest.approx(0.1232, abs=5e-4)


def test_most_active_users_only_cost_the_long_tail_while_the_average_holds(
    ranking: Report,
) -> None:
    cell = next(c.id for c in ranking.cells if c.id.startswith("most active"))
    assert value(ranking, "ndcg@10", "all", cell) < 0.01
    assert value(ranking, "long_tail_share@10", "all", cell, "low") > 0.02
    random = next(c.id for c in ranking.cells if c.id.startswith("random"))
    assert abs(value(ranking, "long_tail_share@10", "all", random)) < 0.01


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The audit of street scenes, with one of its sets; the pool made as the audit's head says."""
    data, folder = DATA / "segmentation", tmp_path_factory.mktemp("streets")
    if not data.exists():
        pytest.skip("the segmentation data isn't there (set CALAUDIT_DATA)")
    text = (ROOT / "audits" / "segmentation.toml").read_text(encoding="utf-8")
    command = re.search(r"#   calaudit (pool import .*?)\n#\n", text, re.S)
    assert command is not None
    words = command[1].replace("\n#", " ").split()
    places = {"frames.csv": str(data / "frames.csv"), "pool.h5": str(folder / "pool.h5")}
    assert calaudit(*(places.get(word, word) for word in words)).status == 0
    head, *sets = re.split(r"(?=\[\[calibsets\]\])", text)
    rest = sets[-1].partition("[[tasks]]")
    kept = next(each for each in sets if 'name = "dusk"' in each)
    audit = folder / "segmentation.toml"
    head = head.replace("batch_size", "tune_samples = 16\nbatch_size", 1)
    audit.write_text(head + kept + "[[tasks]]" + rest[2], encoding="utf-8")
    report, _ = run_audit(audit, Overrides(model=data / "model.onnx", pool=folder / "pool.h5"))
    return report


def test_fp32s_mean_iou_by_light_is_the_readmes_and_no_set_is_blamed(streets: Report) -> None:
    (cell,) = [each.id for each in streets.cells]
    for light, expected in {"day": 0.491, "dusk": 0.497}.items():
        where = f"light = {light}"
        assert value(streets, "mean_iou", where, cell, "reference") == pytest.approx(
            expected, abs=5e-4
        )
        assert abs(value(streets, "mean_iou", where, cell)) < 0.005
    assert all(one.verdict != "REGRESSED" for one in streets.results)
    assert streets.attribution == ()
    iou = [m.name for m in streets.metrics if m.name.startswith("iou[")]
    assert len(iou) == 11
