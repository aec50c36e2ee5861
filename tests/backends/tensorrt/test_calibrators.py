"""Both calibrators through NVIDIA's real bindings of TensorRT 10.16.1, in a process of their own.

What is claimed stands in calibrators_through_cpp.py and implicit_audits.py.
"""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[3]
CLAIMS = [
    Path(__file__).with_name(name) for name in ("calibrators_through_cpp.py", "implicit_audits.py")
]
NAMES = [
    name
    for each in CLAIMS
    for name in re.findall(r"^def (test_\w+)", each.read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.fixture(scope="module")
def failures(
    bindings_10: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """Claim → why it doesn't hold, once per parameter."""
    report = tmp_path_factory.mktemp("calibrators") / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=0"]
    done = subprocess.run(
        [*command, f"--junitxml={report}", *map(str, CLAIMS)],
        cwd=ROOT,
        env=bindings_10,
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), f"the process ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    found: dict[str, list[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.attrib["name"].partition("[")[0]
        wrong = [each for each in case if each.tag in {"failure", "error", "skipped"}]
        found.setdefault(name, []).extend(each.text or each.attrib["message"] for each in wrong)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("claim", NAMES)
def test_with_nvidias_bindings(claim: str, failures: dict[str, list[str]]) -> None:
    assert claim in failures, "it wasn't run"
    assert not failures[claim], "\n\n".join(failures[claim])
