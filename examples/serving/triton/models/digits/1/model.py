"""A model of Triton's Python backend that runs an ONNX model by onnxruntime."""

import os

import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, args):
        folder = os.path.join(args["model_repository"], args["model_version"])
        self.session = onnxruntime.InferenceSession(os.path.join(folder, "model.onnx"))
        self.inputs = [each.name for each in self.session.get_inputs()]
        self.outputs = [each.name for each in self.session.get_outputs()]

    def execute(self, requests):
        return [self.answer(each) for each in requests]

    def answer(self, request):
        found = {name: triton.get_input_tensor_by_name(request, name) for name in self.inputs}
        feeds = {name: tensor.as_numpy() for name, tensor in found.items()}
        values = zip(self.outputs, self.session.run(self.outputs, feeds), strict=True)
        return triton.InferenceResponse([triton.Tensor(name, value) for name, value in values])
