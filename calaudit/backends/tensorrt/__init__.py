"""TensorRT: implicit quantization with calibrators (≤ 10), explicit Q/DQ (≥ 10, RTX).

The only folder that imports TensorRT and pycuda, and only when first used: nothing here needs them
to be installed.
"""
