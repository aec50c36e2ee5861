"""A runtime of MLServer that serves an ONNX model by onnxruntime."""

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor
from mlserver.utils import get_model_uri

DATATYPES = {"tensor(float)": "FP32", "tensor(int64)": "INT64", "tensor(uint8)": "UINT8"}


class OnnxModel(MLModel):
    async def load(self) -> bool:
        self.session = onnxruntime.InferenceSession(await get_model_uri(self.settings))
        # What calaudit holds against the audit's model before it sends a request.
        self.inputs = [described(each) for each in self.session.get_inputs()]
        self.outputs = [described(each) for each in self.session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        feeds = {each.name: NumpyCodec.decode_input(each) for each in payload.inputs}
        names = [each.name for each in self.outputs]
        found = zip(names, self.session.run(names, feeds), strict=True)
        outputs = [NumpyCodec.encode_output(name, values) for name, values in found]
        return InferenceResponse(model_name=self.name, outputs=outputs)


def described(tensor: onnxruntime.NodeArg) -> MetadataTensor:
    shape = [size if isinstance(size, int) else -1 for size in tensor.shape]
    return MetadataTensor(name=tensor.name, datatype=DATATYPES[tensor.type], shape=shape)
