"""Trained models for others to run: TensorFlow Serving, ONNX, TensorFlow Lite."""
