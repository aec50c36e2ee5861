"""Addresses of models on servers; what a server says of its model, held against the audit's."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.ab.endpoints import Endpoint, Metadata, Tensor, check_metadata
from calaudit.graph.model import ModelTensor
from calaudit.runtime.errors import BackendError, SettingsError

INPUTS = (ModelTensor("image", np.dtype("float32"), (1, 8, 8)),)
OUTPUTS = (ModelTensor("logits", np.dtype("float32"), (10,)),)
SERVED = Metadata(
    server="triton 2.51.0",
    extensions=(),
    versions=("1",),
    inputs=(Tensor("image", "FP32", (-1, 1, 8, 8)),),
    outputs=(Tensor("logits", "FP32", (-1, 10)), Tensor("embedding", "FP32", (-1, 32))),
)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("http://host:8080/digits", Endpoint("http", "host:8080", "digits")),
        ("http://host/digits/", Endpoint("http", "host:80", "digits")),
        ("https://host/digits/2", Endpoint("https", "host:443", "digits", "2")),
        ("grpc://host:8081/digits/1", Endpoint("grpc", "host:8081", "digits", "1")),
        ("grpcs://[::1]:8081/digits", Endpoint("grpcs", "[::1]:8081", "digits")),
        ("http://host:8080/v2/models/digits/infer", Endpoint("http", "host:8080", "digits")),
        ("http://host:80/v2/models/a/versions/7", Endpoint("http", "host:80", "a", "7")),
        ("http://host:80/serving/v2/models/a", Endpoint("http", "host:80/serving", "a")),
        ("http://host:80/a%20b", Endpoint("http", "host:80", "a b")),
    ],
)
def test_an_address_names_protocol_server_model_and_version(text: str, endpoint: Endpoint):
    assert Endpoint.parse(text) == endpoint


@pytest.mark.parametrize("text", ["http://h:1/m", "grpc://h:1/m/v1", "https://h:1/s/v2/models/m"])
def test_an_endpoint_is_shown_as_an_address_that_names_it_again(text: str):
    assert Endpoint.parse(str(Endpoint.parse(text))) == Endpoint.parse(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ftp://host:1/m", "has the scheme 'ftp'"),
        ("htpp://host:1/m", "Did you mean http"),
        ("http://host:8080", "names no model"),
        ("http://host:8080/", "names no model"),
        ("http:///model", "names no host"),
        ("grpc://host/model", "names no port"),
        ("http://host:x/model", "isn't an address"),
        ("http://host:99999/model", "isn't an address"),
        ("http://host:1/a/b/c", "has too many parts"),
        ("http://host:1/a?x=1", "has something behind its path"),
        ("grpc://host:1/s/v2/models/m", "which gRPC doesn't have"),
    ],
)
def test_what_is_no_address_is_refused_with_the_form(text: str, told: str):
    with pytest.raises(SettingsError, match=r"Give http://HOST:PORT/MODEL") as caught:
        Endpoint.parse(text)
    assert told in str(caught.value)


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(SettingsError, match="a user or a password") as caught:
        Endpoint.parse("http://me:hidden@host:80/m")
    assert "hidden" not in str(caught.value)


@given(st.text())
def test_any_text_is_an_endpoint_or_a_settings_error(text: str):
    for written in (text, f"http://{text}", f"grpc://host:1/{text}"):
        with suppress(SettingsError):
            Endpoint.parse(written)


def test_the_audits_model_on_a_server_is_accepted_with_outputs_that_nobody_scores():
    check_metadata(SERVED, INPUTS, OUTPUTS, "here")


def test_a_server_that_serves_one_sample_at_a_time_or_free_sizes_is_accepted():
    free = replace(SERVED, inputs=(Tensor("image", "FP32", (1, -1, -1, -1)),))
    check_metadata(free, INPUTS, OUTPUTS, "here")
    check_metadata(SERVED, INPUTS, (ModelTensor("logits", np.dtype("float32"), (None,)),), "here")


def test_what_a_server_does_not_tell_is_not_held_against_it():
    check_metadata(replace(SERVED, inputs=(), outputs=()), INPUTS, OUTPUTS, "here")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"inputs": (Tensor("x", "FP32", (-1, 1, 8, 8)),)}, "no input 'image'"),
        (
            {"inputs": (Tensor("image", "UINT8", (-1, 1, 8, 8)),)},
            "is UINT8 there, the audit's FP32",
        ),
        (
            {"inputs": (Tensor("image", "FP32", (-1, 8, 8, 1)),)},
            "is (any, 8, 8, 1) there, the audit's (any, 1, 8, 8)",
        ),
        ({"outputs": (Tensor("logit", "FP32", (-1, 10)),)}, "Did you mean logit?"),
        ({"outputs": (Tensor("logits", "FP32", (-1, 11)),)}, "(any, 11) there"),
        ({"outputs": (Tensor("logits", "FP16", (-1, 10)),)}, "is FP16 there"),
        ({"inputs": (*SERVED.inputs, Tensor("mask", "BOOL", (-1,)))}, "wants an input 'mask'"),
    ],
)
def test_another_model_is_refused_by_name_type_or_shape(change: dict[str, Any], told: str):
    with pytest.raises(BackendError) as caught:
        check_metadata(replace(SERVED, **change), INPUTS, OUTPUTS, "http://host:1/m")
    assert told in str(caught.value)
    assert "http://host:1/m" in str(caught.value)


def test_all_differences_are_told_at_once():
    other = replace(SERVED, inputs=(Tensor("image", "INT8", (-1, 3)),), outputs=SERVED.outputs[1:])
    with pytest.raises(BackendError) as caught:
        check_metadata(other, INPUTS, OUTPUTS, "here")
    assert len(caught.value.problems) == 3


def test_element_types_that_the_protocol_lacks_are_refused():
    strange = (ModelTensor("image", np.dtype("complex64"), (1, 8, 8)),)
    with pytest.raises(BackendError, match="tensors of complex64 can't be sent"):
        check_metadata(SERVED, strange, OUTPUTS, "here")
