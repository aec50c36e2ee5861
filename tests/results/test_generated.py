"""What is published of the report is what its dataclasses say."""

import dataclasses
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from calaudit.results.comparison import Result
from calaudit.results.document import to_document
from calaudit.results.schema import ab_schema, report_schema
from tests.report.benched import BENCH
from tests.report.factory import (
    AGREEMENT,
    EXEMPLARS,
    EXPLANATION,
    HARM,
    RANGES,
    RANKING,
    RECOMMENDATION,
    report,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["REPORT", "AB"])
def test_the_committed_schema_is_what_make_generate_writes(generate: ModuleType, name: str) -> None:
    published = getattr(generate, name)
    committed = published.schema.read_text(encoding="utf-8")
    assert committed == generate.dumped(generate.make_schema(published)), "run `make generate`"


@pytest.mark.parametrize("name", ["REPORT", "AB"])
def test_the_committed_tables_are_what_make_generate_writes(
    generate: ModuleType, name: str
) -> None:
    published = getattr(generate, name)
    page = published.page.read_text(encoding="utf-8")
    assert page == generate.generated(page, published), "run `make generate`"


@pytest.mark.parametrize(("name", "least"), [("REPORT", 25), ("AB", 13)])
def test_every_field_of_every_dataclass_is_told_in_the_schema_and_in_the_docs(
    generate: ModuleType, name: str, least: int
) -> None:
    published = getattr(generate, name)
    page = published.page.read_text(encoding="utf-8")
    schema = {"REPORT": report_schema, "AB": ab_schema}[name]()
    kinds = generate.records(published)
    assert len(kinds) > least
    for kind in kinds:
        whole = kind is published.kind
        table = page if whole else page.split(f"\n### {kind.__name__}\n")[1]
        node = schema if whole else schema["$defs"][kind.__name__]
        for each in dataclasses.fields(kind):
            assert node["properties"][each.name]["description"]
            assert f"| `{each.name}` |" in table.split("\n### ")[0]


def test_the_schemas_keys_are_those_of_a_document_in_its_order() -> None:
    document = to_document(
        report(
            ranking_flow=(RANKING,),
            exemplars=(EXEMPLARS,),
            agreement=(AGREEMENT,),
            compared_ranges=(RANGES,),
            harm=HARM,
            explanations=(EXPLANATION,),
            recommendation=RECOMMENDATION,
            bench=BENCH,
        )
    )
    schema = report_schema()
    assert list(schema["properties"]) == list(document)
    assert list(schema["$defs"]["Result"]["properties"]) == list(document["results"][0])
    flow = document["ranking_flow"][0]
    assert list(schema["$defs"]["RankingFlow"]["properties"]) == list(flow)
    assert list(schema["$defs"]["Flow"]["properties"]) == list(flow["slices"][0]["flow"])
    assert list(schema["$defs"]["EngineRecord"]["properties"]) == list(
        document["cells"][0]["engine"]
    )


def test_limits_of_a_field_are_in_the_schema(generate: ModuleType) -> None:
    """Each kind of number: a count, a share, a level, and any of them or null."""
    result = generate.make_schema()["$defs"]["Result"]["properties"]
    told = {
        name: {key: value for key, value in result[name].items() if key != "description"}
        for name in ("n", "n_needed", "p_value", "level", "margin", "verdict", "gate")
    }
    assert told == {
        "n": {"type": "integer", "minimum": 0},
        "n_needed": {"type": ["integer", "null"], "minimum": 0},
        "p_value": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "level": {"type": ["number", "null"], "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "margin": {"type": "number"},
        "verdict": {"enum": ["PASS", "REGRESSED", "INCONCLUSIVE", None]},
        "gate": {"type": ["object", "null"], "$ref": "#/$defs/Gate"},
    }


def test_a_field_without_a_docstring_is_refused(
    generate: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = 'class Result:\n    """One."""\n\n    cell: str\n    n: int\n    """Samples."""\n'
    monkeypatch.setattr(generate.inspect, "getsource", lambda _: source)
    with pytest.raises(LookupError, match=r"Result\.cell has no docstring"):
        generate.field_docs(Result)


def test_the_schema_is_json_schema_2020_12(generate: ModuleType) -> None:
    from jsonschema import Draft202012Validator

    assert json.loads(generate.REPORT.schema.read_text(encoding="utf-8")) == report_schema()
    assert report_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for published in (report_schema(), ab_schema()):  # which no command checks again
        Draft202012Validator.check_schema(published)
