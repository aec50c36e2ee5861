"""What a session of onnxruntime is made with; imports little, since processes start with it."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import onnxruntime as ort

_LEVELS: Final[Mapping[str, ort.GraphOptimizationLevel]] = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


class How(NamedTuple):
    """What a session is made with; see `calaudit.backends.onnxruntime.sessions`."""

    threads: int = 0
    kernels: Literal["emulated", "fused"] = "emulated"
    graph_optimization: Literal["all", "extended", "basic", "none"] = "all"
    spinning: bool = False
    planned: bool = False
    """Whether memory is set aside for all tensors of a run at once. The plan is made in the first
    run and lies in a block of its own from the second on, beside what the first took: a session
    that runs a few batches pays for its memory twice, and so do runs that overlap."""

    def options(self) -> ort.SessionOptions:
        """As onnxruntime takes them."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        options.enable_mem_pattern = self.planned
        options.graph_optimization_level = _LEVELS[self.graph_optimization]
        if not self.spinning:
            # Where another process holds a core, its threads would burn as much waiting for each
            # other within a run as they compute (twice the time), and go on waiting between runs.
            # With all cores to itself a run of small ops takes up to a fifth longer.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if self.kernels == "emulated":
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        return options
