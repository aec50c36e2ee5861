"""TensorRT: implicit quantization with calibrators (≤ 10), explicit Q/DQ (≥ 10, RTX).

The only folder that imports TensorRT and pycuda, and only when first used: nothing here needs them
to be installed. Two sides: what knows audits, graphs and files (`kind`, `backend`, `build`,
`implicit`, `source`, `precision`), and what stands beside the library and the GPU (`detect`,
`cuda`, `pipeline`, `runner`, `watching`, `feed`, `calibration`), which needs neither ONNX nor HDF5.
"""
