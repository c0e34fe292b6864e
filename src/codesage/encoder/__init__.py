"""The encoder: its shape, its weights, ONNX export and the runtime."""
