"""Training, distillation, evaluation and their checkpoints; knows nothing of compressing."""
