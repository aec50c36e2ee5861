import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.backends.tensorrt.layer_names import names_within, unnamed_layers
from calaudit.graph.products import Product

NAMES = ("/f/Conv", "/f/Conv_1", "/f", "a", "a + b", "b", "x, y", "n[0]", "Conv_1")


@pytest.mark.parametrize(
    ("layer", "held"),
    [
        ("/f/Conv", ("/f/Conv",)),
        ("/f/Conv_1", ("/f/Conv_1",)),
        ("/f/Conv + PWN(PWN(/f/HardSwish), /f/HardSwish_0)", ("/f/Conv",)),
        ("/f/HardSwish_0 + /f/Conv_1", ("/f/Conv_1",)),
        ("reshape_before_/f/Conv", ()),
        ("Reformatting CopyNode for Input Tensor 0 to /f/Conv", ()),
        ("/f/Conv || /f/Conv_1", ("/f/Conv", "/f/Conv_1")),
        ("{ForeignNode[/f/Conv...b]}", ("/f/Conv", "b")),
        ("PWN(a, b)", ("a", "b")),
        ("a + b", ("a + b",)),
        ("b + a", ("b", "a")),
        ("w + QuantizeLinear_7_quantize_scale_node + Conv_1 + Relu_11", ("Conv_1",)),
        ("PWN(x, y)", ("x, y",)),
        ("n[0] + n[0]", ("n[0]",)),
        ("/g/f/Conv", ()),
        ("", ()),
    ],
)
def test_whole_names_are_found_between_separators(layer: str, held: tuple[str, ...]) -> None:
    assert names_within([layer], NAMES) == [held]


_name = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)


@given(st.lists(_name, min_size=1, max_size=4, unique=True), st.sampled_from([" + ", " || "]))
def test_a_name_alone_is_always_found(names: list[str], separator: str) -> None:
    assert names_within(names, names) == [(name,) for name in names]
    plain = [name for name in names if not set(name) & set("+|,()[]. ")]
    (found,) = names_within([separator.join(plain)], plain)
    assert set(found) == set(plain)


def test_no_names_are_no_names() -> None:
    assert names_within(["a", "b"], []) == [(), ()]
    assert names_within(["a"], [""]) == [()]


def test_layers_without_a_name_count_by_their_place() -> None:
    layers = [
        "(Unnamed Layer* 10) [Convolution] + (Unnamed Layer* 11) [Activation]",
        "(Unnamed Layer* 9) [Convolution]",
        "(Unnamed Layer* 12) [Matrix Multiply]",
        "(Unnamed Layer* 3) [Shuffle]",
    ]
    convs = [Product(name, "Conv", "int8", "") for name in ("c1", "c2")]
    gemm = Product("g", "Gemm", "int8", "")
    assert unnamed_layers(layers, [*convs, gemm]) == {
        "c1": layers[1], "c2": layers[0], "g": layers[2],
    }  # fmt: skip
    assert unnamed_layers(layers, convs[:1]) == {}
    assert unnamed_layers(layers, [Product("l", "LSTM", "int8", "")]) == {}
