"""Backends whose engines several threads run at a time: what one may offer beyond `Backend`."""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from calaudit.backends.base import Engine

if TYPE_CHECKING:
    from calaudit.graph.model import Model  # which imports onnx


@runtime_checkable
class Sharing(Protocol):
    """A backend that makes engines for several threads."""

    def load_shared(self, model: "Model") -> tuple[Engine, int]:
        """As `Backend.load`, of a model whose outputs are large.

        Returns
        -------
        Engine
            Several threads may be in its `run`, each on its share of the cores.
        int
            How many of them keep the cores busy; no more than memory should hold the outputs of.
        """
        ...
