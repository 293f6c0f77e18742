"""ONNX files that were checked, and the bundles around them."""
