"""A backend: ONNX's own evaluator, which computes every operator with numpy."""

from importlib.metadata import version

import numpy as np

from calaudit.backends.base import BackendKind, BuiltEngine, Capabilities, Int8
from calaudit.runtime.errors import BackendError, Notice, near
from calaudit.runtime.settings import setting


@setting
class EvaluatorSettings:
    """Keys of ``[audit]``."""

    verify: bool = False
    """Have ONNX check every model before it runs."""
    calibrates: bool = False
    """Estimate minmax ranges itself too, beside those that calaudit gives it."""


class EvaluatorKind(BackendKind):
    """What the entry point names. Imports nothing heavy until a model is run."""

    name = "onnx_reference"
    settings = EvaluatorSettings

    def make(self, settings, site):
        return EvaluatorBackend(settings.verify)

    def int8(self, settings, methods, batching):
        yield from super().int8(settings, methods, batching)
        if settings.calibrates:
            yield Int8(method="own-minmax", given="calibset", nearest=("minmax",))

    def examine(self, settings, wanted):
        from calaudit.backends.health import Health, run_probe, tried

        backend = EvaluatorBackend(settings.verify)
        trials = tried(wanted, lambda model: run_probe(backend.load(model)))
        return Health(self.name, backend.title, "numpy on the CPU", trials)


class EvaluatorBackend:
    """The evaluator for one audit."""

    name = "onnx_reference"
    capabilities = Capabilities(
        precisions=frozenset({"fp32", "fp16", "int8"}), needs_gpu=False, concurrent=True
    )

    def __init__(self, verify):
        self._verify = verify
        self.title = f"onnx_reference {version('onnx')}"
        self.key = self.title
        self.environment = {}

    def check(self, model):
        """Whatever it is: `load` says what it can't run."""

    def load(self, model):
        from onnx.checker import ValidationError, check_model
        from onnx.reference import ReferenceEvaluator

        try:
            if self._verify:
                check_model(model.proto)
            evaluator = ReferenceEvaluator(_with_known_qdq(model.proto))
        except (ValidationError, NotImplementedError, RuntimeError, FileNotFoundError) as error:
            raise BackendError(
                f"onnx_reference refuses the model: {error}",
                where=model.label,
                next_step="Check that its operators are ONNX's own.",
            ) from None
        record = {"library": self.title, "verify": str(self._verify)}
        return EvaluatorEngine(evaluator, model, record)

    def make(self, order):
        model, scales, notices = order.model, {}, ()
        if order.method == "own-minmax":
            model, scales = self._calibrated(order)
            message = f"ranges of {len(order.ranges)} samples were estimated by onnx_reference"
            notices = (Notice("own_ranges", message),)
        return BuiltEngine(
            engine=self.load(model) if order.to_run else None,
            kernels="emulated" if order.precision == "int8" else "float",
            options={"verify": self._verify},
            notices=notices,
            scales=scales,
        )

    def _calibrated(self, order):
        """The Q/DQ graph by the largest magnitudes on the order's calibration set."""
        from calaudit.graph.placement import plan_qdq
        from calaudit.graph.qdq import apply_qdq
        from calaudit.graph.taps import with_taps

        plan = plan_qdq(order.model)
        engine = self.load(with_taps(order.model, plan.taps))
        amax = dict.fromkeys(plan.taps, 0.0)
        n = len(order.ranges)
        # calibration sets are read in the order of their rows
        batches = [np.unique(batch) for batch in order.batching.fitted(n).cut(n)]
        for values in order.ranges.pieces(batches):
            found = {**values, **engine.run(values)}
            amax = {tap: max(amax[tap], float(np.abs(found[tap]).max())) for tap in amax}
        scales = {tap: value / 127 for tap, value in amax.items()}
        return apply_qdq(order.model, plan, scales), scales


def _with_known_qdq(proto):
    """The model in opset 19, where the evaluator begins to have QuantizeLinear."""
    from onnx.version_converter import convert_version

    opset = max(each.version for each in proto.opset_import if each.domain == "")
    quantized = any(node.op_type == "QuantizeLinear" for node in proto.graph.node)
    return convert_version(proto, 19) if quantized and opset < 19 else proto


class EvaluatorEngine:
    """One model."""

    def __init__(self, evaluator, model, record):
        self._evaluator = evaluator
        self._one_by_one = model.fixed_batch
        self._label = model.label
        self.inputs = model.inputs
        self.outputs = tuple(output.name for output in model.outputs)
        self.record = record

    def run(self, feeds):
        if self._evaluator is None:
            raise self._failed("the engine was closed")
        used = {spec.name: self._feed(spec, feeds) for spec in self.inputs}
        n, *others = {len(values) for values in used.values()}
        if others:
            raise self._failed(f"the inputs differ in their number of samples: {[n, *others]}")
        if not self._one_by_one:
            return self._run(used)
        pieces = [self._run({name: x[i : i + 1] for name, x in used.items()}) for i in range(n)]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in self.outputs}

    def close(self):
        self._evaluator = None

    def _feed(self, spec, feeds):
        if spec.name not in feeds:
            step = near(spec.name, feeds)
            raise BackendError(f"input {spec.name} wasn't fed", where=self._label, next_step=step)
        values = feeds[spec.name]
        if values.dtype != spec.dtype:
            raise self._failed(f"input {spec.name} is {values.dtype}, the model takes {spec.dtype}")
        return np.ascontiguousarray(values)

    def _run(self, feeds):
        try:
            found = self._evaluator.run(list(self.outputs), feeds)
        except (ValueError, TypeError, IndexError, RuntimeError) as error:
            raise self._failed(str(error)) from None
        # An output may be an input, or a view of one: the caller gets arrays of their own.
        return {name: np.array(x) for name, x in zip(self.outputs, found, strict=True)}

    def _failed(self, why):
        step = "Check the inputs' shapes and types."
        return BackendError(f"onnx_reference failed: {why}", where=self._label, next_step=step)


EVALUATOR = EvaluatorKind()
