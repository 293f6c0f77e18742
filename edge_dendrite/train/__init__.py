"""Training, distillation, evaluation and their checkpoints."""
