from __future__ import annotations

import pytest
import torch

from edge_dendrite.data.dataset import DataSet, Split, hold_out
from edge_dendrite.data.source import load_data
from edge_dendrite.errors import DataError, ModelError


def test_digits_are_whole_and_never_in_two_splits(digits):
    test = digits.read_test()
    assert len(digits.train) + len(digits.validation) + len(test) == 1797
    assert digits.input_shape == (1, 8, 8)
    # Some of the 1,797 scans are pixel for pixel the same; so membership is counted, not looked up.
    from sklearn.datasets import load_digits

    original = torch.from_numpy(load_digits().images).sum()
    parts = sum(split.inputs.double().sum() for split in (digits.train, digits.validation, test))
    assert abs(float(parts) / (255 / 16) - float(original)) / float(original) < 0.01


def test_user_function(tmp_path, monkeypatch):
    (tmp_path / "my_data.py").write_text(
        "import torch, edge_dendrite as ed\n"
        "def load():\n"
        "    x, y = torch.randn(30, 4), torch.arange(30) % 3\n"
        "    return ed.DataSet.from_tensors('mine', train=(x, y), test=(x, y))\n"
        "def wrong():\n"
        "    return 5\n"
    )
    monkeypatch.chdir(tmp_path)
    data = load_data("my_data:load")
    assert (len(data.train), len(data.validation), data.labels) == (27, 3, ("0", "1", "2"))
    with pytest.raises(DataError, match="returned int"):
        load_data("my_data:wrong")
    with pytest.raises(ModelError, match="data function"):
        load_data("my_data:absent")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nonsense", "give digits, mnist:DIR"),
        ("mnist", "write it as mnist:DIR"),
        ("mnist:/no/such/folder", "is not a folder"),
        ("images:", "is not a folder"),
    ],
)
def test_unknown_sources_say_what_is_known(source, message):
    with pytest.raises(DataError, match=message):
        load_data(source)


def test_image_size_only_where_it_means_something():
    with pytest.raises(DataError, match="--image-size goes with folders"):
        load_data("digits", image_size=(8, 8))


def test_fingerprint_follows_every_value(digits):
    changed = digits.train.inputs.clone()
    changed[5, 0, 3, 3] += 1
    other = DataSet(
        digits.name,
        Split(changed, digits.train.targets),
        digits.validation,
        digits.read_test,
        digits.labels,
        digits.preprocessing,
    )
    assert digits.fingerprint() == digits.fingerprint() != other.fingerprint()


def test_unequal_and_empty_splits_are_refused():
    with pytest.raises(DataError, match="3 inputs but 2 targets"):
        Split(torch.zeros(3, 1), torch.zeros(2))
    with pytest.raises(DataError, match="without a sample"):
        Split(torch.zeros(0, 1), torch.zeros(0))
    with pytest.raises(DataError, match="too few"):
        hold_out(Split(torch.zeros(1, 1), torch.zeros(1)))
