"""onnxruntime on the CPU: the FP32 reference, and INT8 by the Q/DQ graph."""
