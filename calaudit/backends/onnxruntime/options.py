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
    planned: bool = True
    """Whether memory is set aside for all tensors of a run at once: where runs overlap, and outputs
    are kept, that takes more than each by itself."""

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
            # A plan of memory is made in the first run and lies in a block of its own from the
            # second on, beside what the first took: a session that runs a few batches pays for
            # all its memory twice (506 against 308 MiB for a segmenter's batch of 8), and is as
            # fast without (0.99 to 1.02 times the CPU time of a run).
            options.enable_mem_pattern = False
        if self.kernels == "emulated":
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        return options
