"""Words beside a graph: ``metadata_props`` of an ONNX model, which change nothing it computes."""

from collections.abc import Mapping

from calaudit.graph.model import Model, copy_of


def with_metadata(model: Model, entries: Mapping[str, str]) -> Model:
    """The model with these entries among its own; one of the same key is replaced.

    Its fingerprint stays: that is of graph and weights.
    """
    proto = copy_of(model.proto)
    kept = {each.key: each.value for each in proto.metadata_props if each.key not in entries}
    del proto.metadata_props[:]
    for key, value in (kept | dict(entries)).items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    return Model(proto, model.label, model.notices)
