"""calaudit: audits INT8 engines slice by slice before they ship.

pool
    The samples an audit may use: model inputs, targets, metadata columns, stable ids.
slice
    A named set of samples, chosen by metadata; slices may overlap.
recipe → draw → calibration set
    How to choose; the chosen samples and weights; the file that holds them.
tap
    A tensor of the model whose distribution is observed.
method
    How a distribution becomes amax: minmax, entropy, percentile, mse, entropy-trt.
scale table
    Tensor → scale, for one calibration set and method.
engine
    A runnable model: the FP32 reference, FP16, or INT8 with one scale table.
cell
    One engine under test: calibration set, method, precision, target.
drop
    The metric under FP32 minus the metric under the engine, on the same units, positive when
    quality is lost.
verdict
    PASS, REGRESSED or INCONCLUSIVE for a cell, slice and metric against its gate.

Names are imported when first used, so that ``import calaudit`` is cheap.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from calaudit.version import __version__

# onnxruntime reads it when it is loaded; else it reports to its makers and keeps files at home.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from calaudit.ab.run import ab_audit
    from calaudit.audit.config import AuditConfig, read_audit
    from calaudit.audit.difference import diff_reports
    from calaudit.audit.prepare import Overrides
    from calaudit.audit.run import run_audit
    from calaudit.bench.run import bench_audit
    from calaudit.explain.run import explain_audit
    from calaudit.export.run import export_engine
    from calaudit.formats.answers import write_answers
    from calaudit.formats.calibset import Calibset, open_calibset
    from calaudit.formats.pool import open_pool
    from calaudit.formats.pool_writer import PoolWriter, write_pool
    from calaudit.formats.ranges import open_ranges
    from calaudit.formats.scales import open_scales, write_scales
    from calaudit.metrics.base import metric
    from calaudit.metrics.catalogue import parse_metric
    from calaudit.metrics.scoring import score
    from calaudit.recommend.run import recommend_audit
    from calaudit.report.files import read_report
    from calaudit.report.terminal import print_report
    from calaudit.results.report import Report, exit_status
    from calaudit.runtime.errors import CalauditError, Notice
    from calaudit.runtime.objects import Objects
    from calaudit.sampling.kinds import make_recipe, read_recipe
    from calaudit.sampling.recipe import Recipe
    from calaudit.slices.dimension import Dimension
    from calaudit.slices.evaluate import evaluate_slices, select_rows
    from calaudit.slices.sliceset import describe_slices
    from calaudit.statistics.compare import compare_cells
    from calaudit.steps.build import build_engine
    from calaudit.steps.calibrate import calibrate_sets
    from calaudit.steps.sample import draw_calibset

_HOMES = {
    "AuditConfig": "audit.config",
    "CalauditError": "runtime.errors",
    "Calibset": "formats.calibset",
    "Dimension": "slices.dimension",
    "Notice": "runtime.errors",
    "Objects": "runtime.objects",
    "Overrides": "audit.prepare",
    "PoolWriter": "formats.pool_writer",
    "Recipe": "sampling.recipe",
    "Report": "results.report",
    "ab_audit": "ab.run",
    "bench_audit": "bench.run",
    "build_engine": "steps.build",
    "calibrate_sets": "steps.calibrate",
    "compare_cells": "statistics.compare",
    "describe_slices": "slices.sliceset",
    "diff_reports": "audit.difference",
    "draw_calibset": "steps.sample",
    "evaluate_slices": "slices.evaluate",
    "exit_status": "results.report",
    "explain_audit": "explain.run",
    "export_engine": "export.run",
    "make_recipe": "sampling.kinds",
    "metric": "metrics.base",
    "open_calibset": "formats.calibset",
    "open_pool": "formats.pool",
    "open_ranges": "formats.ranges",
    "open_scales": "formats.scales",
    "parse_metric": "metrics.catalogue",
    "print_report": "report.terminal",
    "read_audit": "audit.config",
    "read_recipe": "sampling.kinds",
    "read_report": "report.files",
    "recommend_audit": "recommend.run",
    "run_audit": "audit.run",
    "score": "metrics.scoring",
    "select_rows": "slices.evaluate",
    "write_answers": "formats.answers",
    "write_pool": "formats.pool_writer",
    "write_scales": "formats.scales",
}

__all__ = [
    "AuditConfig",
    "CalauditError",
    "Calibset",
    "Dimension",
    "Notice",
    "Objects",
    "Overrides",
    "PoolWriter",
    "Recipe",
    "Report",
    "__version__",
    "ab_audit",
    "bench_audit",
    "build_engine",
    "calibrate_sets",
    "compare_cells",
    "describe_slices",
    "diff_reports",
    "draw_calibset",
    "evaluate_slices",
    "exit_status",
    "explain_audit",
    "export_engine",
    "make_recipe",
    "metric",
    "open_calibset",
    "open_pool",
    "open_ranges",
    "open_scales",
    "parse_metric",
    "print_report",
    "read_audit",
    "read_recipe",
    "read_report",
    "recommend_audit",
    "run_audit",
    "score",
    "select_rows",
    "write_answers",
    "write_pool",
    "write_scales",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'calaudit' has no attribute {name!r}")
    return getattr(import_module(f"calaudit.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
