from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from edge_dendrite.compress.model import CompressedModel, load
from edge_dendrite.compress.neurons.prune import prune
from edge_dendrite.config import Budget
from edge_dendrite.errors import ModelError
from edge_dendrite.roles import COMPRESSED


@pytest.fixture(scope="module")
def compressed(digits, trained):
    batches = list(digits.batches(digits.train, 64))
    pruned = prune(trained, batches, Budget(pruning_ratio=0.5))
    return CompressedModel.describe(
        pruned.module, digits, name="d", source="digits-cnn", role=COMPRESSED, plan=pruned.plan, history=[{"epoch": 1}]
    )


def test_a_saved_model_comes_back_with_its_shapes_and_values(compressed, digits, tmp_path):
    loaded = load(compressed.save(tmp_path / "m"))
    inputs = digits.prepare(digits.validation.inputs)
    assert torch.equal(loaded.module(inputs), compressed.module.eval()(inputs))
    assert loaded.stats == compressed.stats
    assert (loaded.plan, loaded.labels, loaded.history) == (compressed.plan, digits.labels, [{"epoch": 1}])
    assert loaded.preprocessing == digits.preprocessing
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["model.json", "model.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]


def test_reasons_of_layers_that_stayed_whole_come_back(compressed, tmp_path):
    named = replace(compressed, kept={"fc2": "an output of the network"})
    assert load(named.save(tmp_path / "m")).kept == named.kept
    path = tmp_path / "m" / "model.json"
    path.write_text(path.read_text("utf-8").replace('"an output of the network"', "3"), "utf-8")
    with pytest.raises(ModelError, match="'kept' is not a dict of reasons"):
        load(tmp_path / "m")


def test_nothing_is_overwritten(compressed, tmp_path):
    compressed.save(tmp_path / "m")
    before = (tmp_path / "m" / "model.json").read_bytes()
    with pytest.raises(ModelError, match="holds a model already"):
        compressed.save(tmp_path / "m")
    assert (tmp_path / "m" / "model.json").read_bytes() == before


def test_a_users_own_class_needs_its_factory_and_is_never_imported(tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("from pathlib import Path\nPath('sprung').touch()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    CompressedModel(nn.Linear(3, 2), "mine", "trap:make", "baseline", (3,)).save("m")
    with pytest.raises(ModelError, match="give its factory"):
        load("m")
    assert not (tmp_path / "sprung").exists()
    assert load("m", model=lambda: nn.Linear(3, 2)).module.weight.shape == (2, 3)
    with pytest.raises(ModelError, match="does not fit"):
        load("m", model=lambda: nn.Linear(4, 2))


def test_tied_weights_survive(tmp_path):
    def make():
        module = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
        module[2].weight = module[0].weight
        return module

    original = make()
    CompressedModel(original, "tied", "mine:make", "baseline", (3,)).save(tmp_path / "m")
    loaded = load(tmp_path / "m", model=make).module
    assert loaded[0].weight is loaded[2].weight
    assert torch.equal(loaded[0].weight, original[0].weight)


@pytest.mark.parametrize("position", [0, 7, 200, -1])
def test_a_changed_byte_in_the_weights_is_refused(compressed, tmp_path, position):
    path = compressed.save(tmp_path / "m") / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ModelError, match="changed or damaged"):
        load(tmp_path / "m")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda record: record.pop("plan"), "'plan' is missing"),
        (lambda record: record.update(version=2), "not a model record"),
        (lambda record: record.update(labels="0123456789"), "'labels' is missing or not a list"),
        (lambda record: record["plan"].update(version=7), "not a plan"),
        (lambda record: record["plan"]["edits"].clear(), "does not fit the network"),
    ],
)
def test_a_damaged_record_is_refused(compressed, tmp_path, damage, message):
    path = compressed.save(tmp_path / "m") / "model.json"
    record = json.loads(path.read_text())
    damage(record)
    path.write_text(json.dumps(record))
    from edge_dendrite.errors import EdgeDendriteError

    with pytest.raises(EdgeDendriteError, match=message):
        load(tmp_path / "m")


def test_missing_and_half_written_folders(compressed, tmp_path):
    with pytest.raises(ModelError, match="no model.json"):
        load(tmp_path)
    folder = compressed.save(tmp_path / "m")
    (folder / "model.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        load(folder)
    folder = compressed.save(tmp_path / "n")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="weights cannot be read"):
        load(folder)
