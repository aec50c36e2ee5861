"""FAKES of TensorRT and pycuda, for a worker's path: they can do nothing but play a part.

Standard library and numpy, on Python 3.8, as workers have them; ONNX models need onnx and
onnxruntime there, which computes what an "engine" answers. How they behave is said by the variable
``FAKE_TENSORRT``, JSON of the fields of `fake_tensorrt.Behaviour`.
"""
