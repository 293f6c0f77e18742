"""Losses of training and distillation. Shape suffixes: b batch, k classes."""

from __future__ import annotations

import torch
from torch.nn import functional

from edge_dendrite.config import DistilConfig


def distillation_loss(
    student_bk: torch.Tensor,
    teacher_bk: torch.Tensor,
    targets_b: torch.Tensor,
    config: DistilConfig | None = None,
) -> torch.Tensor:
    """Cross-entropy with the labels mixed with the divergence from the teacher's softened outputs (a scalar).

    Hinton, Vinyals and Dean 2015, section 2; the factor temperature**2 keeps both gradients of one size.
    """
    config = config or DistilConfig()
    soft_student = functional.log_softmax(student_bk / config.temperature, dim=-1)
    soft_teacher = functional.log_softmax(teacher_bk / config.temperature, dim=-1)
    divergence = functional.kl_div(soft_student, soft_teacher, reduction="batchmean", log_target=True)
    hard = functional.cross_entropy(student_bk, targets_b)
    return config.weight * config.temperature**2 * divergence + (1.0 - config.weight) * hard
