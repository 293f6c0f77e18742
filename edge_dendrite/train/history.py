"""What a training says of itself: one entry per epoch, and what follows from them."""

from __future__ import annotations

from typing import Any

# One dict per epoch: stage, epoch (from 1), train_loss, val_metric; with early stopping also kept (true or false).
History = list[dict[str, Any]]


def best_epoch(history: History) -> int:
    """Index of the first entry with the largest validation metric."""
    metrics = [entry["val_metric"] for entry in history]
    return metrics.index(max(metrics))


def is_over(history: History, epochs: int, patience: int | None) -> bool:
    """Whether all epochs are done, or the last `patience` ones brought nothing better."""
    if len(history) >= epochs:
        return True
    return bool(history) and patience is not None and len(history) - 1 - best_epoch(history) >= patience


def marked(history: History) -> History:
    """The history with `kept` in each entry: whether its weights are those that stayed."""
    best = best_epoch(history)
    return [{**entry, "kept": index == best} for index, entry in enumerate(history)]


def kept_entry(history: History) -> dict[str, Any]:
    """The entry of the epoch whose weights stayed: the marked one, else the last."""
    return next((entry for entry in history if entry.get("kept")), history[-1])
