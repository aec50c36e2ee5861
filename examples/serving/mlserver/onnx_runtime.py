"""Serves an ONNX model by onnxruntime: a runtime of MLServer."""

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor

DATATYPES = {"tensor(float)": "FP32", "tensor(double)": "FP64", "tensor(float16)": "FP16"}
DATATYPES |= {
    f"tensor({sign}int{n})": f"{sign}int{n}".upper() for sign in ("", "u") for n in (8, 16, 32, 64)
}


def told(tensors: list[onnxruntime.NodeArg]) -> list[MetadataTensor]:
    """The names, element types and shapes that clients may ask for; -1: any size."""
    return [
        MetadataTensor(
            name=each.name,
            datatype=DATATYPES[each.type],
            shape=[size if isinstance(size, int) else -1 for size in each.shape],
        )
        for each in tensors
    ]


class OnnxModel(MLModel):
    async def load(self) -> bool:
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri)
        self.inputs, self.outputs = map(
            told, (self.session.get_inputs(), self.session.get_outputs())
        )
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        feeds = {each.name: NumpyCodec.decode_input(each) for each in payload.inputs}
        names = [each.name for each in self.outputs]
        answers = zip(names, self.session.run(names, feeds), strict=True)
        outputs = [NumpyCodec.encode_output(name, values) for name, values in answers]
        return InferenceResponse(model_name=self.name, outputs=outputs)
