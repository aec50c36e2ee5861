"""Every command works where neither TensorRT nor pycuda can be imported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from calaudit.cli.app import app
from tests.audit.world import make_world

BLOCKED = ("tensorrt", "tensorrt_bindings", "tensorrt_rtx", "tensorrt_rtx_bindings", "pycuda")
SCRIPT = f"""
import json, sys
sys.modules.update(dict.fromkeys({BLOCKED!r}))  # None: an import of it is an ImportError
from calaudit.cli import main

statuses = []
for command in json.loads(sys.argv[1]):
    sys.argv = ["calaudit", *command]
    print("$", *sys.argv)
    try:
        main()
        statuses.append(0)
    except SystemExit as ended:
        statuses.append(ended.code)
assert all(sys.modules[name] is None for name in {BLOCKED!r})
print(json.dumps(statuses))
"""
COMMANDS = """
doctor
doctor --json
pool show pool.h5
slices pool.h5 --by loudness
sample pool.h5 --size 40 --name some --evaluate split='evaluation' --out some.h5
calibrate model.onnx some.h5 --method minmax --out ranges.h5 --scales scales
build model.onnx --scales scales/some-minmax.json --out int8.onnx
cache convert scales/some-minmax.json taps.cache --tensorrt 10.3
cache write model.onnx some.h5 --method minmax --tensorrt 10.3 --out some.cache
cache show some.cache
cache verify some.cache --model model.onnx
init model.onnx pool.h5 --out first.toml
compare audit.toml
status audit.toml
clean audit.toml --dry-run
report show audit/report.json
bench audit.toml --rounds 6 --seconds 0.01 --batch 4 --no-layers --formats none
ab audit.toml --arm fp32 --arm fp32 --poisson 500 --n 60
explain audit.toml --most 1
recommend audit.toml
export audit.toml both/minmax --out ship
demo --out demo
"""
SHORT_DEMO = """
[audit]
name = "digits"
model = "digits.onnx"
pool = "digits.h5"
evaluate = "split = 'gallery'"
methods = ["minmax"]

[[slices]]
by = "noise"
edges = [0.1]

[[calibsets]]
name = "any"
size = 16
candidates = "split = 'calibration'"

[[tasks]]
kind = "classification"
output = "logits"
metrics = ["top1"]
"""
ENDED = {"compare": 1, "bench": 1, "explain": 1, "recommend": 1, "report": 1, "ab": 3}
"""The audit's verdict: something regressed; of so short a replay: inconclusive."""


def run_without(commands: list[list[str]], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run commands, one after another, where neither library can be imported."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_every_command_works_without_tensorrt_and_pycuda(tmp_path: Path) -> None:
    make_world(tmp_path)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "digits.toml").write_text(SHORT_DEMO, encoding="utf-8")
    commands = [line.split() for line in COMMANDS.strip().splitlines()]
    assert {each[0] for each in commands} == set(get_command(app).commands)  # type: ignore[attr-defined]  # a group
    done = run_without(commands, tmp_path)
    statuses = json.loads(done.stdout.splitlines()[-1])
    wanted = [ENDED.get(each[0], 0) for each in commands]
    assert statuses == wanted, done.stdout + done.stderr


def test_a_backend_that_isnt_here_is_told_by_the_audit_in_the_doctors_words(tmp_path: Path) -> None:
    audit = make_world(tmp_path)
    text = audit.read_text().replace("batch_size", 'backend = "tensorrt_rtx"\nbatch_size')
    audit.write_text(text, encoding="utf-8")
    commands = [["doctor", "tensorrt_rtx", "--json"], ["compare", str(audit)]]
    done = run_without(commands, tmp_path)
    *shown, statuses = done.stdout.splitlines()
    assert json.loads(statuses) == [1, 2]
    (health,) = json.loads("\n".join(shown[1:-1]))["backends"]
    assert not health["usable"]
    assert health["missing"][0]["reason"] == "isn't installed"
    for each in health["missing"]:
        assert f"audit.backend: {each['what']} {each['reason']}\n" in done.stderr
        assert each["next_step"] in done.stderr
    assert "-m pip install tensorrt-rtx" in done.stderr
    assert not (tmp_path / "audit").exists()
