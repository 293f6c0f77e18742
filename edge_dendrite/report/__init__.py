"""Measurement files to one HTML page, a Markdown table and JSON. Needs neither torch nor onnx."""
