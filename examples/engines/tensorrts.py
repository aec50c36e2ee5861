"""Build a TensorRT plan of a Q/DQ graph by TensorRT's own Python API, as an engine made elsewhere.

    python examples/engines/tensorrts.py MODEL.onnx OUT.plan BATCH

With the interpreter that has TensorRT, 8.5 to 9: nothing of calaudit is used.
"""

import sys

import tensorrt as trt


def main(model: str, out: str, batch: str) -> None:
    """Build for batches of 1 to `batch` samples."""
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(model):
        raise SystemExit("\n".join(str(parser.get_error(i)) for i in range(parser.num_errors)))
    config = builder.create_builder_config()
    config.set_flag(trt.BuilderFlag.INT8)
    config.clear_flag(trt.BuilderFlag.TF32)
    own = trt.TacticSource.EDGE_MASK_CONVOLUTIONS, trt.TacticSource.JIT_CONVOLUTIONS
    config.set_tactic_sources(sum(1 << int(source) for source in own))  # cuDNN needn't be there
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # the inspector tells precisions
    profile = builder.create_optimization_profile()
    for number in range(network.num_inputs):
        tensor = network.get_input(number)
        rest, most = tuple(tensor.shape)[1:], int(batch)
        profile.set_shape(tensor.name, (1, *rest), (most, *rest), (most, *rest))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise SystemExit("TensorRT can't build this engine: its log says why")
    with open(out, "wb") as file:
        file.write(plan)


if __name__ == "__main__":
    main(*sys.argv[1:])
