from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.dendrites.callbacks import LightningCallback, trainer_callback
from edge_dendrite.compress.dendrites.grow import Grower
from edge_dendrite.compress.layers.dendrites import DendriticLayer
from edge_dendrite.config import GrowConfig

QUICK = {"candidate_steps": 60, "num_batches": 8, "num_samples": 2048, "patience": 1}


@pytest.fixture
def corners():
    """Exclusive or of two signs, which a narrow network hardly learns."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(1024, 6, generator=generator)
    return inputs, (inputs[:, 0] * inputs[:, 1] > 0).long()


def test_a_loop_with_lightning_hooks(corners):
    torch.manual_seed(0)
    inputs, targets = corners
    network = nn.Sequential(nn.Linear(6, 2), nn.ReLU(), nn.Linear(2, 2))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.9**epoch)
    grower = Grower(network, GrowConfig(**QUICK))
    batches = list(zip(inputs.split(128), targets.split(128), strict=True))
    callback = LightningCallback(grower, batches, metric="val_loss")
    trainer = SimpleNamespace(optimizers=[optimizer], callback_metrics={}, sanity_checking=True)
    callback.setup(trainer, network, stage="fit")
    callback.on_validation_end(trainer, network)  # before training: nothing to read yet
    callback.on_train_epoch_end(trainer, network)
    trainer.sanity_checking = False
    for _ in range(12):
        for x, y in batches:
            optimizer.zero_grad()
            functional.cross_entropy(network(x), y).backward()
            optimizer.step()
        schedule.step()
        with torch.no_grad():
            trainer.callback_metrics["val_loss"] = round(float(functional.cross_entropy(network(inputs), targets)), 1)
        callback.on_validation_end(trainer, network)
        callback.on_train_epoch_end(trainer, network)
    callback.on_train_end(trainer, network)
    assert callback.state_dict() == {}
    assert any(one.num_dendrites for one in grower.growths)
    (group,) = optimizer.param_groups  # one group, which the schedule goes on with
    assert group["lr"] == pytest.approx(0.02 * 0.9**12)
    assert {id(one) for one in network.parameters()} == {id(one) for one in group["params"]}
    with pytest.raises(KeyError, match="'val_loss' was not reported; there are other"):
        trainer.callback_metrics = {"other": 1.0}
        callback.on_validation_end(trainer, network)
        callback.on_train_epoch_end(trainer, network)
    with pytest.raises(AttributeError):
        _ = callback.no_such_thing


def test_the_trainer_of_transformers(corners, tmp_path):
    import transformers

    torch.manual_seed(0)
    settings = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.BertConfig(vocab_size=16, max_position_embeddings=8, num_labels=2, **settings)
    model = transformers.BertForSequenceClassification(config)
    tokens = torch.randint(0, 16, (256, 6), generator=torch.Generator().manual_seed(0))
    labels = ((tokens[:, 0] > 7) ^ (tokens[:, 1] > 7)).long()
    data = [{"input_ids": one, "labels": label} for one, label in zip(tokens, labels, strict=True)]
    batches = [({"input_ids": x}, y) for x, y in zip(tokens.split(64), labels.split(64), strict=True)]
    grower = Grower(model, GrowConfig(mode="gradient", num_dendrites=2, patience=1, layers=(".*intermediate.dense",)))
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), num_train_epochs=3, eval_strategy="epoch", report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True, learning_rate=0.0, per_device_train_batch_size=64, logging_strategy="no",
    )  # fmt: skip
    callback = trainer_callback(grower, batches)
    trainer = transformers.Trainer(
        model=model, args=arguments, train_dataset=data, eval_dataset=data, callbacks=[callback]
    )
    trainer.train()
    # At a learning rate of 0 nothing is gained: after the first growth the callback asks for no second one.
    assert [one.num_dendrites for one in grower.growths] == [2] and grower.is_done
    layers = [one for one in model.modules() if isinstance(one, DendriticLayer)]
    assert len(layers) == 1
    known = {id(one) for group in trainer.optimizer.param_groups for one in group["params"]}
    assert {id(one) for one in layers[0].sets.parameters()} <= known
    trainer.evaluate()  # after the training nothing grows
    assert len(grower.growths) == 1
