from __future__ import annotations

import pytest
import torch

from edge_dendrite.config import FitConfig
from edge_dendrite.train.fit import fit
from edge_dendrite.train.history import best_epoch, is_over, kept_entry, marked


def entries(*metrics):
    return [
        {"stage": "s", "epoch": number, "train_loss": 0.0, "val_metric": one} for number, one in enumerate(metrics, 1)
    ]


@pytest.mark.parametrize(
    ("metrics", "patience", "over"),
    [
        ((), 1, False),
        ((0.5,), 1, False),
        ((0.5, 0.5), 1, True),  # equal is no improvement
        ((0.5, 0.6), 1, False),
        ((0.5, 0.4, 0.3), 3, False),
        ((0.5, 0.4, 0.3, 0.2), 3, True),
        ((0.5, 0.4, 0.3, 0.2), None, False),
        ((0.1,) * 10, None, True),
    ],
)
def test_when_a_training_is_over(metrics, patience, over):
    assert is_over(entries(*metrics), 10, patience) is over


def test_the_first_of_the_best_epochs_is_kept():
    history = entries(0.1, 0.9, 0.9, 0.2)
    assert best_epoch(history) == 1
    assert [entry["kept"] for entry in marked(history)] == [False, True, False, False]
    assert kept_entry(marked(history))["epoch"] == 2
    assert kept_entry(history)["epoch"] == 4  # without patience the last one stays


def says(values):
    """A metric that gives these values in turn, and holds the first weight of each call."""
    left = iter(values)
    return lambda outputs, targets: next(left)


def test_patience_stops_and_keeps_the_best_epoch(blobs, network, same_weights):
    config = FitConfig(epochs=9, batch_size=32, patience=2)
    module = network(dropout=0.2)
    history = fit(module, blobs, config, metric=says([0.1, 0.3, 0.2, 0.3, 0.9]))
    assert [entry["val_metric"] for entry in history] == [0.1, 0.3, 0.2, 0.3]
    assert [entry["kept"] for entry in history] == [False, True, False, False]

    class Stop(Exception):
        pass

    def stop(description, done, total):
        if done > 2 * total // 9:
            raise Stop

    # The second epoch's weights, by a run that is ended after it.
    other = network(dropout=0.2)
    with pytest.raises(Stop):
        fit(other, blobs, config, metric=says([0.1, 0.3]), progress=stop)
    assert same_weights(module, other)


def test_with_patience_the_best_epoch_stays_also_when_all_epochs_are_done(blobs, network, same_weights):
    config = FitConfig(epochs=3, batch_size=32, patience=3)
    first, last = network(), network()
    history = fit(first, blobs, config, metric=says([0.9, 0.1, 0.2]))
    assert kept_entry(history)["epoch"] == 1
    fit(last, blobs, config, metric=says([0.1, 0.2, 0.9]))
    plain = network()
    assert "kept" not in fit(plain, blobs, FitConfig(epochs=3, batch_size=32))[0]
    assert same_weights(last, plain)
    assert not torch.equal(first[0].weight, last[0].weight)
