"""An engine that runs in a worker: takes host arrays and gives host arrays."""

import weakref
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.tensorrt.link import Answer, RefusedError, Worker
from calaudit.backends.tensorrt.session import Session
from calaudit.backends.tensorrt.timing import Timing
from calaudit.backends.timed import Block, Times
from calaudit.results.bench import EngineMemory, LayerTime
from calaudit.runtime.errors import BackendError, near

if TYPE_CHECKING:
    from calaudit.formats.engine import EngineFacts
    from calaudit.graph.model import Model, ModelTensor

Array = NDArray[Any]

_FIT: Final = "Check the inputs' shapes and types."
_THERE: Final = "Build it where it runs, with that TensorRT; delete a file that was cut off."


class TensorrtEngine:
    """A plan, and where a worker has made it ready to run.

    Parameters
    ----------
    session : Session
        Whose worker runs it. A new worker is given the plan again.
    plan : bytes
        The serialized engine.
    model : Model
        The graph it was built from: names and order of inputs and outputs, and their types.
    record : mapping
        What identifies it in a report.
    facts : EngineFacts, optional
        What a plan that was kept is bound to, for messages.

    Raises
    ------
    BackendError
        TensorRT can't load the plan. It never says why by itself: the message compares what the
        engine is bound to with what is there, and quotes TensorRT's log.
    """

    def __init__(
        self,
        session: Session,
        plan: bytes,
        model: "Model",
        record: Mapping[str, str],
        facts: "EngineFacts | None" = None,
    ) -> None:
        self.session = session
        self._plan: bytes | None = plan
        self.model = model
        self._record = dict(record)
        self._facts = facts
        self._timing = Timing(self)
        self._loaded: tuple[weakref.ref[Worker], int] | None = None
        self._specs: dict[str, dict[str, Any]] = {}
        self._sizes: dict[int, list[int]] = {}
        """Rows → bytes of the outputs, as they were."""
        session.perform(self.number)

    @property
    def plan(self) -> bytes:
        """The serialized engine. Raises `BackendError` where it was closed."""
        if self._plan is None:
            raise self._failed("the engine was closed", "Load it again.")
        return self._plan

    @property
    def inputs(self) -> "tuple[ModelTensor, ...]":
        """What must be fed."""
        return self.model.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names that `run` returns."""
        return tuple(each.name for each in self.model.outputs)

    @property
    def record(self) -> Mapping[str, str]:
        """Library, GPU and precision."""
        return self._record

    @property
    def largest(self) -> dict[str, list[int]]:
        """Input → the largest shape that it takes, batch included."""
        self.session.perform(self.number)
        return {name: list(spec["largest"]) for name, spec in self._specs.items()}

    @property
    def takes(self) -> tuple[int, int]:
        """Fewest and most samples of a batch."""
        self.session.perform(self.number)
        return self._takes()

    def _takes(self) -> tuple[int, int]:
        """The same, in a worker that has the engine."""
        specs = self._specs.values()
        least = max((each["smallest"][0] for each in specs), default=1)
        return least, min((each["largest"][0] for each in specs), default=1)

    def measure(self, feeds: Mapping[str, Array], block: Block) -> Times:
        """Time runs from host to host; see `calaudit.backends.timed.Timed`."""
        return self._timing.measure(feeds, block)

    def memory(self) -> EngineMemory:
        """What it takes of the GPU's memory; see `calaudit.backends.timed.Timed`."""
        return self._timing.memory()

    def layers(self, feeds: Mapping[str, Array], runs: int) -> tuple[LayerTime, ...]:
        """Time its layers; see `calaudit.backends.timed.Timed`."""
        return self._timing.layers(feeds, runs)

    def fed(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays as an engine that is loaded takes them in one piece, by its own inputs.

        Raises
        ------
        BackendError
            One is missing or doesn't fit, or the engine takes no such batch.
        """
        used = {each.name: self._feed(each, feeds) for each in self.model.inputs}
        fewest, most = self._takes()
        for name, values in used.items():
            if not fewest <= len(values) <= most:
                takes = f"{fewest} to {most}" if fewest < most else f"{most}"
                raise BackendError(
                    f"the engine takes batches of {takes} samples; {name} has {len(values)}",
                    where=self.model.label,
                    next_step="Measure batches that it takes.",
                )
        return {name: _fitted(used[name], spec["dtype"]) for name, spec in self._specs.items()}

    def empty_feeds(self, n: int) -> dict[str, Array]:
        """Uninitialised input arrays for `n` rows, which the GPU copies from without a detour.

        `run` takes any array, but others are copied once more.
        """

        def make(worker: Worker) -> dict[str, Array]:
            self.number(worker)
            types = {each.name: each.dtype for each in self.model.inputs}
            return {
                name: worker.empty((n, *spec["largest"][1:]), types[name])
                for name, spec in self._specs.items()
            }

        return self.session.perform(make)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run a batch; see `calaudit.backends.base.Engine.run`.

        What is returned lies in memory that is used again once nobody holds it.
        """
        _ = self.plan
        used = {each.name: self._feed(each, feeds) for each in self.model.inputs}
        n, *others = {len(values) for values in used.values()}
        if others:
            raise self._failed(
                f"the inputs differ in their number of samples: {sorted([n, *others])}",
                "Feed the same samples to every input.",
            )
        found = self.session.perform(lambda worker: self._run_filled(worker, used, n)).arrays
        return {each.name: _as(found[each.name], each.dtype) for each in self.model.outputs}

    def inspect(self, shapes: Mapping[str, Sequence[int]]) -> str | None:
        """The engine inspector's JSON under inputs of these shapes; None where it tells nothing."""

        def look(worker: Worker) -> str | None:
            values = {
                "engine": self.number(worker),
                "shapes": {name: list(map(int, shape)) for name, shape in shapes.items()},
            }
            text: str | None = worker.ask("runner.inspect", values).values["text"]
            return text

        return self.session.perform(look)

    def close(self) -> None:
        """Free everything on the GPU; the engine can't be run after."""
        self._plan = None
        worker = None if self._loaded is None else self._loaded[0]()
        if worker is None or not worker.alive or self._loaded is None:
            return
        number, self._loaded = self._loaded[1], None
        try:
            self._timing.close(worker)
            worker.ask("runner.close", {"engine": number})
        except BackendError:
            return  # a worker that has ended holds nothing

    def number(self, worker: Worker) -> int:
        """The engine's number in a worker, which is given the plan if it doesn't have it."""
        if self._loaded is not None and self._loaded[0]() is worker:
            return self._loaded[1]
        plan = np.frombuffer(self.plan, np.uint8)
        try:
            what = f"load {self.model.label}"
            told = worker.ask("runner.load", {}, {"plan": plan}, what=what, where=self.model.label)
        except RefusedError as error:
            if error.kind == "plan":
                raise self._unloaded(error) from None
            raise
        self._specs = {each["name"]: each for each in told.values["inputs"]}
        self._check_names("input", self._specs, [each.name for each in self.model.inputs])
        self._check_names("output", [each["name"] for each in told.values["outputs"]], self.outputs)
        self._loaded = (weakref.ref(worker), int(told.values["engine"]))
        return self._loaded[1]

    def _check_names(self, what: str, own: Collection[str], wanted: Sequence[str]) -> None:
        """Refuse a plan of another model: TensorRT would run it with other tensors."""
        # what nothing is computed from isn't in a plan
        strange = [name for name in own if name not in wanted] if what == "input" else []
        lacking = [name for name in wanted if name not in own] if what == "output" else []
        for name in strange:
            raise BackendError(
                f"the engine has an input {name!r}, which the model hasn't",
                where=self.model.label,
                next_step=near(name, wanted),
            )
        for name in lacking:
            raise BackendError(
                f"the engine has no output {name!r}, which the model has",
                where=self.model.label,
                next_step=near(name, own),
            )

    def _run_filled(self, worker: Worker, used: Mapping[str, Array], n: int) -> Answer:
        """Run `n` rows, with the last one again where the engine takes whole batches alone."""
        self.number(worker)  # which tells of shapes
        fewest, most = self._takes()
        lacking = -n % most if 0 < n % most < fewest else 0
        if not lacking:
            return self._run(worker, used, n)
        filled = {
            name: np.concatenate([values, np.repeat(values[-1:], lacking, axis=0)])
            for name, values in used.items()
        }
        answer = self._run(worker, filled, n + lacking)
        cut = {
            name: values[:n] if values.ndim and len(values) == n + lacking else values
            for name, values in answer.arrays.items()
        }
        return Answer(answer.values, cut)

    def _run(self, worker: Worker, used: Mapping[str, Array], n: int) -> Answer:
        number = self.number(worker)
        fed = {name: _fitted(used[name], spec["dtype"]) for name, spec in self._specs.items()}
        what = f"run {n} rows of {self.model.label}"
        try:
            answer = worker.ask(
                "runner.run",
                {"engine": number, "n": n},
                fed,
                what=what,
                where=self.model.label,
                outputs=self._sizes.get(n, ()),
            )
        except RefusedError as error:
            problem = error.problems[0]
            raise self._failed(problem.message, problem.next_step or _FIT) from None
        self._sizes[n] = [values.nbytes for values in answer.arrays.values()]
        return answer

    def _feed(self, tensor: "ModelTensor", feeds: Mapping[str, Array]) -> Array:
        if tensor.name not in feeds:
            raise BackendError(
                f"input {tensor.name} wasn't fed",
                where=self.model.label,
                next_step=near(tensor.name, feeds),
            )
        values = feeds[tensor.name]
        spec = self._specs.get(tensor.name)
        shape = tensor.shape if spec is None else spec["shape"][1:]
        if values.dtype != tensor.dtype or not _fits(values.shape[1:], shape):
            raise self._failed(
                f"input {tensor.name} is {values.dtype} {list(values.shape)}, the engine takes "
                f"{tensor.dtype} {[-1, *shape]}",
                _FIT,
            )
        return values

    def _failed(self, why: str, next_step: str) -> BackendError:
        return BackendError(f"the run failed: {why}", where=self.model.label, next_step=next_step)

    def _unloaded(self, error: RefusedError) -> BackendError:
        return BackendError(
            f"{self.session.title} can't load the engine: {self._mismatch()}"
            f"{error.problems[0].message}",
            where=self.model.label,
            next_step=_THERE,
        )

    def _mismatch(self) -> str:
        facts, here = self._facts, self.session.look()
        if facts is None:
            return ""
        bound = []
        if (facts.library, facts.version) != (self.session.location.library, here.library):
            title = self.session.title
            bound.append(f"{facts.library} {facts.version} built it, this is {title}")
        if facts.compute_capability not in {None, here.compute_capability}:
            gpu = facts.gpu or "a GPU"
            bound.append(
                f"it was built for {gpu} of compute capability {facts.compute_capability}, this "
                f"is {here.device}"
            )
        return "".join(f"{reason}; " for reason in bound)


def _fits(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(shape) == len(wanted) and all(
        size in {None, -1, given} for size, given in zip(wanted, shape, strict=True)
    )


def _fitted(values: Array, kind: str) -> Array:
    """An input in the engine's type: before 10, TensorRT has 32-bit integers only."""
    wanted = np.dtype(kind)
    if values.dtype == wanted:
        return values
    bounds = np.iinfo(wanted) if wanted.kind == "i" else None
    if bounds is not None and values.size:
        least, most = values.min(), values.max()
        if least < bounds.min or most > bounds.max:
            raise BackendError(
                f"the run failed: {least if least < bounds.min else most} doesn't fit {wanted}, "
                "which this TensorRT makes of the input",
                next_step="Export the model with smaller indices, or take TensorRT 10 or later.",
            )
    return values.astype(wanted)


def _as(values: Array, dtype: np.dtype[Any]) -> Array:
    return values.astype(dtype, copy=False)
