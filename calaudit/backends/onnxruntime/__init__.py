"""onnxruntime as a backend: `kind` is how audits name it, `sessions` runs models."""
