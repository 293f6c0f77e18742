from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from edge_dendrite.compress.controls import same_shape_from_scratch
from edge_dendrite.compress.model import load
from edge_dendrite.compress.pipeline import compress_with_controls
from edge_dendrite.compress.plan import Cut, Plan
from edge_dendrite.config import (
    BranchConfig,
    Budget,
    CompressConfig,
    FitConfig,
    RecipeConfig,
)
from edge_dendrite.data.dataset import Split
from edge_dendrite.errors import EdgeDendriteError, ModelError, TrainError
from edge_dendrite.lock import locked
from edge_dendrite.models.convnets import DigitsCNN

CONFIG = CompressConfig(Budget(pruning_ratio=0.5), FitConfig(epochs=3, batch_size=64), finetune_epochs=2)


@pytest.fixture(scope="module")
def out(tmp_path_factory, digits):
    folder = tmp_path_factory.mktemp("pipeline") / "out"
    compress_with_controls(DigitsCNN, digits, CONFIG, folder, source="digits-cnn")
    return folder


def test_every_arm_gets_its_epochs_and_its_shape(out):
    baseline, compressed = load(out / "baseline"), load(out)
    longer, scratch = load(out / "controls/dense-longer"), load(out / "controls/from-scratch")
    assert compressed.stats.num_parameters <= 13_706 // 2
    assert longer.stats.num_parameters == baseline.stats.num_parameters == 13_706
    assert {n: t.shape for n, t in scratch.module.state_dict().items()} == {
        n: t.shape for n, t in compressed.module.state_dict().items()
    }
    epochs = [len(model.history) for model in (baseline, compressed, longer, scratch)]
    assert epochs == [3, 2, 2, 3 + 2]
    assert compressed.val_metric > 0.5
    assert [model.role for model in (longer, scratch)] == ["control:dense-longer", "control:from-scratch"]


def test_layers_that_stay_whole_are_named_with_the_reason_also_by_a_second_call(out, digits):
    again = compress_with_controls(DigitsCNN, digits, CONFIG, out, source="digits-cnn")
    assert again.kept["fc2"] == load(out).kept["fc2"] == "an output of the network"


def test_a_second_call_reuses_everything(out, digits):
    calls = []
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.json")}
    compress_with_controls(
        DigitsCNN, digits, CONFIG, out, source="digits-cnn", progress=lambda *call: calls.append(call)
    )
    assert calls == []
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.json")} == before


def test_other_settings_or_data_never_pass_for_these(out, digits):
    others = [
        replace(CONFIG, budget=Budget(pruning_ratio=0.4)),
        replace(CONFIG, fit=FitConfig(epochs=4, batch_size=64)),
    ]
    for other in others:
        with pytest.raises(ModelError, match="other settings or data"):
            compress_with_controls(DigitsCNN, digits, other, out, source="digits-cnn")
    with pytest.raises(ModelError, match="other settings or data"):
        compress_with_controls(DigitsCNN, replace(digits, name="x"), CONFIG, out, source="digits-cnn")


def test_a_trained_network_is_taken_as_baseline(tmp_path, digits, trained):
    quick = replace(CONFIG, finetune_epochs=1, controls=False)
    outcome = compress_with_controls(DigitsCNN, digits, quick, tmp_path / "o", source="digits-cnn", baseline=trained)
    assert outcome.controls == ()
    wanted = trained.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in outcome.baseline.module.state_dict().items())
    assert outcome.baseline.history == []


class Stop(Exception):
    pass


def test_an_interrupted_run_goes_on_and_ends_bit_identical(out, digits, tmp_path):
    """Stopped in the middle of an epoch of every stage in turn; what comes out is what the whole run gave."""

    def stopping_in(stage, share):
        def progress(description, done, total):
            if description == f"training {stage}" and done >= share * total:
                raise Stop

        return progress

    folder = tmp_path / "out"
    for stage in ("baseline", "distil", "control:dense-longer", "control:from-scratch"):
        with pytest.raises(Stop):
            compress_with_controls(
                DigitsCNN, digits, CONFIG, folder, source="digits-cnn", progress=stopping_in(stage, 0.75)
            )
    compress_with_controls(DigitsCNN, digits, CONFIG, folder, source="digits-cnn")
    for part in ("", "baseline", "controls/dense-longer", "controls/from-scratch"):
        assert (folder / part / "model.safetensors").read_bytes() == (out / part / "model.safetensors").read_bytes()


def test_a_checkpoint_of_other_data_is_never_gone_on_from(digits, tmp_path):
    """Interrupted on one data set, then the same command with corrected data: not a mixture of both."""

    def stop(description, done, total):
        if description == "training baseline" and done > total // 2:
            raise Stop

    with pytest.raises(Stop):
        compress_with_controls(DigitsCNN, digits, CONFIG, tmp_path / "o", source="digits-cnn", progress=stop)
    other = replace(digits, name="corrected")
    with pytest.raises(TrainError, match="made by another training"):
        compress_with_controls(DigitsCNN, other, CONFIG, tmp_path / "o", source="digits-cnn")


def test_checkpoints_are_gone_when_their_stage_is_finished(out):
    assert list((out / "checkpoints").iterdir()) == []


def test_a_users_own_weights_are_never_overwritten(digits, tmp_path):
    (tmp_path / "model.safetensors").write_text("precious")
    with pytest.raises(ModelError, match="would be overwritten"):
        compress_with_controls(DigitsCNN, digits, replace(CONFIG, controls=False), tmp_path, source="digits-cnn")
    assert (tmp_path / "model.safetensors").read_text() == "precious"


def test_two_at_once_in_one_folder_are_refused(out, digits):
    with locked(out), pytest.raises(ModelError, match="another edge-dendrite works there"):
        compress_with_controls(DigitsCNN, digits, CONFIG, out, source="digits-cnn")


def test_a_changed_forward_is_another_network(out, digits):
    class Changed(DigitsCNN):
        def forward(self, x):
            return super().forward(x) * 2.0

    with pytest.raises(ModelError, match="other settings or data"):
        compress_with_controls(Changed, digits, CONFIG, out, source="digits-cnn")


def test_the_control_keeps_what_the_factory_set_to_a_constant():
    def make():
        module = DigitsCNN()
        torch.nn.init.zeros_(module.fc1.weight)
        return module

    plan = Plan((Cut("fc1.weight", 0, (0, 1)), Cut("fc1.bias", 0, (0, 1)), Cut("fc2.weight", 1, (0, 1))))
    module = same_shape_from_scratch(make, plan, seed=0)
    assert float(module.fc1.weight.detach().abs().max()) == 0.0
    # Drawn for two inputs, not for the 64 of the wide network: uniform up to 1/sqrt(2) instead of 1/8.
    assert float(module.fc2.weight.detach().abs().max()) > 0.25


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"targets": lambda t: t.float()}, "targets are torch.float32"),
        ({"targets": lambda t: t + 1}, "targets go from 1 to 10, but the network has 10 outputs"),
        ({"targets": lambda t: t - 1}, "targets go from -1 to 8"),
        ({"inputs": lambda x: x[:, :, :5]}, "cannot take inputs of shape"),
    ],
)
def test_data_that_do_not_fit_are_said_before_the_training(digits, tmp_path, data, message):
    change_x, change_y = data.get("inputs", lambda x: x), data.get("targets", lambda t: t)
    split = Split(change_x(digits.train.inputs), change_y(digits.train.targets))
    with pytest.raises(EdgeDendriteError, match=message):
        compress_with_controls(DigitsCNN, replace(digits, train=split), CONFIG, tmp_path / "o", source="digits-cnn")


@pytest.mark.parametrize(
    "method", [BranchConfig(num_batches=16), RecipeConfig(branch_first=(2.0,), widths=(8,), trial_steps=5)]
)
def test_the_rehearsal_takes_as_many_batches_as_branches_need(digits, tmp_path, method):
    """Of 8 samples each: one batch alone would be refused, while the run itself has enough of them."""
    fit = FitConfig(epochs=1, batch_size=8, learning_rate=3e-3)
    config = CompressConfig(Budget(max_parameters=8_000), fit, finetune_epochs=2, prune=method, controls=False)
    outcome = compress_with_controls(plain_network, digits, config, tmp_path, source="plain")
    assert sum(one.numel() for one in outcome.compressed.module.parameters()) <= 8_000


def plain_network():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
