"""ONNX graph surgery: check, fold, tap, and place Q/DQ. The only folder that imports onnx."""
