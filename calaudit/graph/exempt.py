"""Exemptions: products to leave in float, by patterns of the names they have in the user's file.

Folding renames: a convolution takes in the BatchNormalization behind it, and an unnamed node is
called as what it makes. So each product answers to its own name and to those of all nodes it was
made from.
"""

from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final

import onnx

from calaudit.graph.model import Model
from calaudit.graph.names import name_of
from calaudit.graph.rules import is_product
from calaudit.runtime.errors import Problem, SettingsError, near

_TAKEN_IN: Final = "BatchNormalization"
"""What products are folded with."""


def match_products(
    patterns: Sequence[str], given: Model, folded: Model, *, where: object
) -> tuple[str, ...]:
    """Products of a prepared model that patterns of node names mean, in graph order.

    Parameters
    ----------
    patterns : sequence of str
        A node's name, or one with the wildcards ``*``, ``?`` and ``[...]``.
    given, folded : Model
        As the user's file has it, and as `prepare` returns it.
    where : object
        What messages call the place of the patterns.

    Raises
    ------
    SettingsError
        Patterns that match no product, all at once, with the near names.
    """
    known = {product: {product, *made_from} for product, made_from in _made_from(given, folded)}
    wanted: set[str] = set()
    problems = []
    for pattern in patterns:
        found = {product for product, names in known.items() if _matches(pattern, names)}
        if not found:
            problems.append(_no_match(pattern, known, given, where))
        wanted |= found
    if problems:
        raise SettingsError.of(problems)
    return tuple(product for product in known if product in wanted)


def within(names: Collection[str], given: Model, folded: Model) -> frozenset[str]:
    """Products of a prepared model that nodes of the given one, or of itself, have become."""
    wanted = set(names)
    return frozenset(
        product
        for product, made_from in _made_from(given, folded)
        if product in wanted or not wanted.isdisjoint(made_from)
    )


def given_names(names: Collection[str], given: Model, folded: Model) -> tuple[str, ...]:
    """The nodes of the given model that products of the prepared one are, in graph order.

    Of each the node itself and what was folded into it. One that has no node there, as it came out
    of a function, keeps its name.
    """
    wanted = set(names)
    return tuple(
        name
        for product, made_from in _made_from(given, folded)
        if product in wanted
        for name in made_from or (product,)
    )


def _made_from(given: Model, folded: Model) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each product of `folded` with the nodes of `given` that are in it, the product's own last."""
    makers = {name: node for node in given.proto.graph.node for name in node.output if name}
    for node in folded.proto.graph.node:
        if is_product(node):
            yield name_of(node), tuple(_chain(node, makers))


def _chain(product: onnx.NodeProto, makers: dict[str, onnx.NodeProto]) -> Iterator[str]:
    """Names from the last node folded into a product back to its own."""
    node = makers.get(product.output[0])
    while node is not None and node.op_type == _TAKEN_IN:
        yield name_of(node)
        node = makers.get(node.input[0])
    if node is not None and node.op_type == product.op_type:
        yield name_of(node)


def _matches(pattern: str, names: Collection[str]) -> bool:
    return pattern in names or any(fnmatchcase(name, pattern) for name in names)


def _no_match(pattern: str, known: dict[str, set[str]], given: Model, where: object) -> Problem:
    nodes = {name_of(node): node.op_type for node in given.proto.graph.node}
    what = f"; the node of that name is a {nodes[pattern]}" if pattern in nodes else ""
    names = {name for made_from in known.values() for name in made_from}
    return Problem(
        f"{pattern!r} names no convolution or matrix product{what}",
        str(where),
        f"{near(pattern.strip('*?'), names)} calaudit build {given.label} --explain names them.",
    )
