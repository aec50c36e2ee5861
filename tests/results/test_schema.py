import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from calaudit.results.document import to_document
from calaudit.results.report import Report
from calaudit.results.schema import SHOWN, schema_problems
from tests.report.factory import (
    AGREEMENT,
    EXEMPLARS,
    EXPLANATION,
    HARM,
    RANGES,
    RANKING,
    RECOMMENDATION,
    report,
    reports,
)

DOCUMENT = to_document(
    report(
        ranking_flow=(RANKING,),
        exemplars=(EXEMPLARS,),
        agreement=(AGREEMENT,),
        compared_ranges=(RANGES,),
        harm=HARM,
        explanations=(EXPLANATION,),
        recommendation=RECOMMENDATION,
    )
)
OPEN = ("config", "environment", "options", "timings")


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(reports())
def test_every_report_satisfies_the_schema(made: Report) -> None:
    assert schema_problems(to_document(made), where="r") == []


MUTATIONS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "missing key": (
        lambda d: d["results"][3].pop("n"),
        "r: results[3]: the key 'n' is missing",
    ),
    "missing keys": (
        lambda d: [d.pop("verdict"), d.pop("cells")],
        "r: the key 'cells' is missing",
    ),
    "unknown value": (
        lambda d: d["results"][0].update(verdict="PASSED"),
        "r: results[0].verdict: 'PASSED' isn't one of the values\n  → Did you mean PASS",
    ),
    "unknown interval": (
        lambda d: d["metrics"][0].update(interval="wald"),
        "r: metrics[0].interval: 'wald' isn't one of the values",
    ),
    "wrong type": (
        lambda d: d["slices"][1].update(n="many"),
        "r: slices[1].n: must be integer (got 'many')",
    ),
    "fractional count": (
        lambda d: d["results"][0]["flips"].update(lost=1.5),
        "r: results[0].flips.lost: must be integer (got 1.5)",
    ),
    "negative count": (
        lambda d: d["calibsets"][0].update(size=-1),
        "r: calibsets[0].size: must be at least 0 (got -1)",
    ),
    "probability above 1": (
        lambda d: d["results"][0].update(p_value=1.5),
        "r: results[0].p_value: must be at most 1 (got 1.5)",
    ),
    "level of 1": (
        lambda d: d["results"][0].update(level=1),
        "r: results[0].level: must be less than 1 (got 1)",
    ),
    "empty name": (
        lambda d: d["cells"][0].update(backend=""),
        "r: cells[0].backend: must be a text of a length of at least 1 (got '')",
    ),
    "null where a number is due": (
        lambda d: d["results"][0]["gate"].update(max_drop=None),
        "r: results[0].gate.max_drop: must be number (got None)",
    ),
    "an engine that is none": (
        lambda d: d["cells"][0].update(engine="fast"),
        "r: cells[0].engine: must be object or null (got 'fast')",
    ),
    "no reference engine": (
        lambda d: d["reference"].update(engine=None),
        "r: reference.engine: must be object (got None)",
    ),
    "local time": (
        lambda d: d.update(created="2026-11-03 12:00"),
        "r: created: must look like",
    ),
    "no GPU entry": (
        lambda d: d["audit"]["environment"].pop("gpu"),
        "r: audit.environment: the key 'gpu' is missing",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_broken_documents_are_refused_with_their_place(name: str) -> None:
    mutate, message = MUTATIONS[name]
    document = copy.deepcopy(DOCUMENT)
    mutate(document)
    assert any(str(problem).startswith(message) for problem in schema_problems(document, where="r"))


def test_dropping_any_fixed_key_is_noticed() -> None:
    def places(node: Any, path: tuple[Any, ...] = ()) -> Any:
        if isinstance(node, dict) and not {"config", "smallest_provable_drop"} & set(path[-1:]):
            for key, child in node.items():
                if path[-1:] and path[-1] in {*OPEN, "quantized_ops", "float_ops"}:
                    continue
                yield (*path, key)
                yield from places(child, (*path, key))
        elif isinstance(node, list) and node:
            yield from places(node[0], (*path, 0))

    found = list(places(DOCUMENT))
    assert len(found) > 80
    for *path, key in found:
        document = copy.deepcopy(DOCUMENT)
        node: Any = document
        for part in path:
            node = node[part]
        del node[key]
        problems = schema_problems(document, where="r")
        assert [p.message for p in problems] == [f"the key {key!r} is missing"], (path, key)


def test_many_problems_are_told_up_to_a_number() -> None:
    document = copy.deepcopy(DOCUMENT)
    for row in document["results"]:
        row.update(n="x", drop="x", low="x")
    problems = schema_problems(document, where="r")
    assert len(problems) == SHOWN + 1
    assert problems[-1].message == "and more of this kind"
