"""The quick yes of a schema is never one that jsonschema wouldn't give."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from calaudit.results.accepting import accepting
from calaudit.results.document import to_document
from calaudit.results.report import Report
from calaudit.results.schema import report_schema
from tests.report.factory import reports
from tests.results.test_schema import DOCUMENT

ACCEPTS = accepting(report_schema())
STRANGE = [None, True, "", "x", "PASS", -1, 0, 1, 3.0, 0.5, 1.5, [], {}, [None], {"n": -1}]


@settings(max_examples=10)
@given(reports())
def test_every_report_is_accepted_at_once(made: Report) -> None:
    assert ACCEPTS(to_document(made))


def places(node: Any, path: tuple[Any, ...] = ()) -> Any:
    yield path
    for key, child in node.items() if isinstance(node, dict) else enumerate(node[:2]):
        if isinstance(child, dict | list):
            yield from places(child, (*path, key))
        else:
            yield (*path, key)


PLACES = [path for path in places(DOCUMENT) if path]


@settings(max_examples=100)
@given(st.sampled_from(PLACES), st.sampled_from([*STRANGE, "drop it"]))
def test_what_is_accepted_is_valid_by_jsonschema(place: tuple[Any, ...], value: Any) -> None:
    document = copy.deepcopy(DOCUMENT)
    node: Any = document
    for part in place[:-1]:
        node = node[part]
    if value == "drop it":
        del node[place[-1]]
    else:
        node[place[-1]] = value
    valid = Draft202012Validator(dict(report_schema())).is_valid(document)
    whole = isinstance(value, float) and value.is_integer()
    assert ACCEPTS(document) == valid or (valid and whole)


SCHEMAS: dict[str, tuple[dict[str, Any], list[Any], list[Any]]] = {
    "type": ({"type": ["integer", "null"]}, [1, None], [True, 1.5, "1", [], {}]),
    "number": ({"type": "number"}, [1, 1.5], [True, None, "1"]),
    "enum": ({"enum": ["a", 1, None]}, ["a", 1, None], [True, "b", 0, []]),
    "const": ({"const": 3}, [3], ["3", True, None]),
    "limits": (
        {"minimum": 0, "exclusiveMaximum": 1}, [0, 0.5, "text"], [-1, 1]
    ),
    "exclusive": ({"exclusiveMinimum": 0, "maximum": 1}, [0.5, 1], [0, 1.5]),
    "text": ({"minLength": 2, "pattern": "^a"}, ["ab", 1], ["a", "ba"]),
    "items": ({"items": {"type": "string"}, "maxItems": 1}, [[], ["a"], 1], [["a", "b"], [1]]),
    "some items": ({"minItems": 1}, [[1], 1], [[]]),
    "members": (
        {"required": ["a"], "properties": {"a": {"const": 1}}, "additionalProperties": False},
        [{"a": 1}, 1],
        [{}, {"a": 2}, {"a": 1, "b": 1}],
    ),
    "others": ({"additionalProperties": {"type": "null"}}, [{"a": None}], [{"a": 1}]),
    "itself": (
        {"$ref": "#/$defs/T", "$defs": {"T": {"items": {"$ref": "#/$defs/T"}, "type": "array"}}},
        [[], [[], [[]]]],
        [1, [[], [1]]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_keyword_means_what_it_means_to_jsonschema(name: str) -> None:
    schema, valid, invalid = SCHEMAS[name]
    accepts, validator = accepting(schema), Draft202012Validator(schema)
    for each in valid:
        assert accepts(each)
        assert validator.is_valid(each)
    for each in invalid:
        assert not accepts(each)
        assert not validator.is_valid(each)


def test_what_a_keyword_says_that_is_not_known_is_left_to_jsonschema() -> None:
    accepts = accepting({"properties": {"a": {"multipleOf": 2}}})
    assert not accepts({"a": 2})
    assert accepts({"b": 2})


def test_one_wrong_value_among_many_is_found_wherever_it_is() -> None:
    accepts = accepting(report_schema())
    many = {**DOCUMENT, "results": [copy.deepcopy(DOCUMENT["results"][0]) for _ in range(50)]}
    assert accepts(many)
    for place in (0, 25, 49):
        for key, wrong in (("n", -1), ("slice", ""), ("verdict", "GOOD"), ("flips", {})):
            broken = {**many, "results": list(many["results"])}
            broken["results"][place] = {**broken["results"][place], key: wrong}
            assert not accepts(broken)
