"""perforatedai (Apache-2.0, PyPI) at its own work: its gradient-descent dendrites on a network that was trained before.

    python -m scripts.benchmarks.perforated_peer JOB.json

It runs in an environment of its own, started by the arm `perforatedai`: its package wants torchvision, whose compiled
part does not load beside a torch for the CPU; nothing of it is used here. How such an environment is made:

    python3 -m venv peer && echo "$PWD/.venv/lib/python3.X/site-packages" > peer/lib/python3.X/site-packages/main.pth
    peer/bin/pip install --no-deps perforatedai==3.2.9 torchvision==0.28.0 pandas cryptography requests pyyaml \\
        python-dateutil pytz tzdata urllib3 idna certifi charset-normalizer cffi pycparser six
    export EDGE_DENDRITE_PERFORATEDAI=$PWD/peer/bin/python

JOB.json: base and teacher (folders of saved models), data (a .safetensors: train_inputs, train_targets,
validation_inputs, validation_targets), input_shape, epochs, learning_rate, fit, distil, seed, and out, the folder for
network.onnx and result.json.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from edge_dendrite.compress.model import load
from edge_dendrite.compress.stats import measure_stats
from edge_dendrite.config import DistilConfig, FitConfig
from edge_dendrite.train.losses import distillation_loss

# What torchvision registers shapes for when it is imported; without its compiled part nobody has defined them.
_OPERATORS = (
    "nms qnms roi_align qroi_align _roi_align_backward roi_pool _roi_pool_backward ps_roi_align _ps_roi_align_backward "
    "ps_roi_pool _ps_roi_pool_backward deform_conv2d _deform_conv2d_backward"
)


def main() -> None:
    """Train for the epochs of the job, with one set of dendrites added in the middle, and export."""
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    torch.set_num_threads(1)
    torch.manual_seed(job["seed"])
    library = torch.library.Library("torchvision", "DEF")  # it forgets what it defined when it is gone
    for name in _OPERATORS.split():
        library.define(f"{name}(Tensor a) -> Tensor")
    settings, functions = (
        importlib.import_module(f"perforatedai.{name}_perforatedai") for name in ("globals", "utils")
    )
    _configure(settings.pc, job["epochs"])
    out = Path(job["out"])
    teacher = load(job["teacher"]).module
    module: nn.Module = functions.perforate_model(load(job["base"]).module, save_name="run", maximizing_score=True)
    began = time.perf_counter()
    module, history = _trained(settings, module, teacher, job, load_file(job["data"]))
    seconds = time.perf_counter() - began
    module.eval()
    example = torch.zeros(1, *job["input_shape"])
    torch.onnx.export(
        module,
        (example,),
        str(out / "network.onnx"),
        dynamo=False,
        opset_version=17,
        input_names=["input"],
        output_names=["output"],
    )
    stats = measure_stats(module, (example,))
    result = {"history": history, "train_seconds": seconds, "num_macs": stats.num_macs}
    (out / "result.json").write_text(json.dumps(result), "utf-8")


def _configure(settings: Any, epochs: int) -> None:
    """Unattended, one set of dendrites after half of the epochs, no search for a learning rate."""
    settings.set_configuration_confirmed(True)
    settings.set_testing_dendrite_capacity(False)
    settings.set_switch_mode(settings.DOING_FIXED_SWITCH)
    settings.set_fixed_switch_num(epochs // 2)
    settings.set_first_fixed_switch_num(epochs // 2)
    settings.set_max_dendrites(1)
    settings.set_find_best_lr(False)
    settings.set_dont_give_up_unless_learning_rate_lowered(False)


def _trained(
    settings: Any, module: nn.Module, teacher: nn.Module, job: dict[str, Any], data: dict[str, torch.Tensor]
) -> tuple[nn.Module, list[list[float]]]:
    fit, distil = FitConfig.from_dict(job["fit"]), DistilConfig.from_dict(job["distil"])
    tracker = settings.pai_tracker
    tracker.set_optimizer(torch.optim.AdamW)
    tracker.set_scheduler(torch.optim.lr_scheduler.StepLR)

    def optimizer_of(module: nn.Module) -> Any:
        values = {"params": module.parameters(), "lr": job["learning_rate"], "weight_decay": fit.weight_decay}
        # Down to a hundredth before the dendrites come, and again before the end.
        steps = {"step_size": 1, "gamma": 0.01 ** (2.0 / job["epochs"])}
        return tracker.setup_optimizer(module, values, steps)[0]

    optimizer = optimizer_of(module)
    generator = torch.Generator().manual_seed(job["seed"])
    history = []
    for _ in range(job["epochs"]):
        module.train()
        total = 0.0
        order = torch.randperm(len(data["train_targets"]), generator=generator)
        for indices in order.split(fit.batch_size):
            inputs, targets = data["train_inputs"][indices], data["train_targets"][indices]
            with torch.no_grad():
                wanted = teacher(inputs)
            optimizer.zero_grad()
            loss = distillation_loss(module(inputs), wanted, targets, distil)
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(indices)
        value = _accuracy(module, data)
        history.append([total / len(order), value])
        module, restructured, is_done = tracker.add_validation_score(value, module)
        if restructured:
            optimizer = optimizer_of(module)
        if is_done:
            break
    return module, history


@torch.no_grad()
def _accuracy(module: nn.Module, data: dict[str, torch.Tensor]) -> float:
    module.eval()
    parts = [module(part).argmax(1) for part in data["validation_inputs"].split(500)]
    return float((torch.cat(parts) == data["validation_targets"]).double().mean())


if __name__ == "__main__":
    main()
