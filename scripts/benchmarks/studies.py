"""What is compared: studies as data."""

from __future__ import annotations

from dataclasses import dataclass

from edge_dendrite.config import DistilConfig, FitConfig, GateConfig, GrowConfig, PruneConfig, RecipeConfig

DENSE, DENSE_LONGER = "dense", "dense-longer"
OURS, SCRATCH, GRADUAL = "edge-dendrite", "from-scratch", "edge-dendrite-gradual"
GRADUAL_SCRATCH = "from-scratch-gradual"
RECIPE, RECIPE_SCRATCH = "edge-dendrite-recipe", "from-scratch-recipe"
REDUCED, REDUCED_LONGER, EQUAL_CAPACITY = "reduced", "reduced-longer", "equal-capacity"
GROWN, GROWN_BY_GRADIENT, GROWN_SCRATCH = "grown", "grown-by-gradient", "from-scratch-grown"
ZEROED, PERFORATED_AI = "dendrites-zeroed", "perforatedai"
GATED, GATED_LINEAR = "gated", "gated-linear"
DENDRITIC, PLAIN_GROUPS, NARROW = "dendritic", "plain-groups", "narrow"
# The control of each of ours: its shape with new weights.
SAME_SHAPE = {OURS: SCRATCH, GRADUAL: GRADUAL_SCRATCH, RECIPE: RECIPE_SCRATCH, GROWN: GROWN_SCRATCH}
# Those that a study is about; a dendritic network has no plan, and controls that are networks of their own.
OUR_ARMS = (*SAME_SHAPE, DENDRITIC, GATED)
UNIFORM_L2 = "torch-pruning-uniform-l2"
GLOBAL_L2 = "torch-pruning-global-l2"
GLOBAL_TAYLOR = "torch-pruning-global-taylor"


PARAMETERS = "fewer parameters"


@dataclass(frozen=True)
class Aims:
    """What our recommended arm is to reach, by means over seeds; None: no aim.

    max_drop: of accuracy against the dense network, as a share. min_error_cut: of the error of the reduced network with
    the same epochs. max_latency, max_onnx: of the dense network's.
    """

    max_drop: float | None = None
    min_error_cut: float | None = None
    max_latency: float | None = None
    max_onnx: float | None = None


@dataclass(frozen=True)
class Study:
    """One network on one data set, at several sizes.

    data: as for `--data`, the folder below the folder of data sets. budgets: fractions of the parameters to remove, or
    of what `cut` says. waves: arms in the order in which they are trained; within a wave, one budget after the other.
    more_epochs: what every arm trains beyond the dense network, all with the same teacher; 0 where nothing is cut and
    each network trains alone. grow_epochs: what those of growth train beyond the reduced network; grow_share:
    parameters that may grow, of its own. gates: how far those of a dendritic network close.
    train_share: of the training data, chosen once for all seeds. aims: set before anything was trained.
    """

    name: str
    title: str
    data: str
    model: str
    budgets: tuple[float, ...]
    fit: FitConfig
    more_epochs: int
    waves: tuple[tuple[str, ...], ...]
    note: str = ""
    cut: str = PARAMETERS
    prune: PruneConfig = PruneConfig()
    distil: DistilConfig = DistilConfig()
    recipe: RecipeConfig = RecipeConfig()
    grow: GrowConfig = GrowConfig(num_layers=4)
    grow_share: float = 0.15
    grow_epochs: int = 0
    train_share: float = 1.0
    gates: GateConfig = GateConfig()
    aims: Aims = Aims()


PRUNING_WAVES = (
    (DENSE,),
    (OURS, SCRATCH),
    (UNIFORM_L2, GLOBAL_L2, GLOBAL_TAYLOR),
    (DENSE_LONGER,),
    (GRADUAL,),
    (GRADUAL_SCRATCH,),
)

# By channel pruning alone to the same size, and that shape from scratch: the plain network of equal capacity.
RECIPE_WAVES = (
    (DENSE,),
    (RECIPE, RECIPE_SCRATCH),
    (OURS, SCRATCH),
    (DENSE_LONGER,),
)

GROW_WAVES = (
    (DENSE,),
    (REDUCED,),
    (REDUCED_LONGER, GROWN, ZEROED, EQUAL_CAPACITY),
    (GROWN_BY_GRADIENT, GROWN_SCRATCH),
    (PERFORATED_AI,),
)
# Nothing is cut: each network is trained alike from its own random weights, without a teacher.
DENDRITIC_WAVES = ((DENSE,), (DENDRITIC, PLAIN_GROUPS, NARROW))

GATE_WAVES = (
    (DENSE,),
    (DENSE_LONGER,),
    (GATED,),
    (GATED_LINEAR,),
)

STUDIES = (
    Study(
        name="pruning-mnist",
        title="Pruning on MNIST",
        data="mnist",
        model="mnist-cnn",
        budgets=(0.6, 0.8, 0.9),
        fit=FitConfig(epochs=8, batch_size=64),
        more_epochs=6,
        waves=PRUNING_WAVES,
    ),
    Study(
        name="pruning-cifar10-jpeg",
        title="Pruning on CIFAR-10-JPEG",
        data="cifar10",
        model="resnet8",
        budgets=(0.5, 0.75),
        fit=FitConfig(epochs=12, batch_size=128, precision="bfloat16", channels_last=True),
        more_epochs=8,
        waves=PRUNING_WAVES,
        note="The images are JPEG copies of CIFAR-10 (quality 75, 4:2:0) and the networks train without augmentation, "
        "in bfloat16: compare with the dense network of this table only, never with published figures.",
    ),
    Study(
        name="recipe-mnist",
        title="Pruning and branching on MNIST",
        data="mnist",
        model="mnist-cnn",
        budgets=(0.9, 0.95),
        fit=FitConfig(epochs=8, batch_size=128, learning_rate=6e-3, transient_norms=True),
        more_epochs=24,
        waves=RECIPE_WAVES,
        aims=Aims(max_drop=0.0012, max_latency=0.6, max_onnx=0.1),
    ),
    Study(
        name="recipe-mnist-gru",
        title="The recipe on a GRU that reads MNIST row by row",
        data="mnist",
        model="mnist-gru",
        budgets=(0.75,),
        fit=FitConfig(epochs=4, batch_size=128),
        more_epochs=6,
        waves=RECIPE_WAVES,
    ),
    Study(
        name="recipe-cifar10-jpeg",
        title="Pruning and branching on CIFAR-10-JPEG",
        data="cifar10",
        model="resnet8",
        budgets=(0.9,),
        fit=FitConfig(epochs=12, batch_size=128, precision="bfloat16", channels_last=True),
        more_epochs=16,
        waves=RECIPE_WAVES,
        note="The images are JPEG copies of CIFAR-10 (quality 75, 4:2:0) and the networks train without augmentation, "
        "in bfloat16: compare with the dense network of this table only, never with published figures.",
    ),
    Study(
        name="grow-mnist",
        title="Growing dendrites on MNIST",
        data="mnist",
        model="mnist-cnn",
        budgets=(0.9,),
        fit=FitConfig(epochs=8, batch_size=128, learning_rate=6e-3, transient_norms=True),
        more_epochs=8,
        grow_epochs=8,
        waves=GROW_WAVES,
        aims=Aims(min_error_cut=0.15),
    ),
    Study(
        name="grow-mnist-tenth",
        title="Growing dendrites on a tenth of MNIST",
        data="mnist",
        model="mnist-cnn",
        budgets=(0.9,),
        fit=FitConfig(epochs=16, batch_size=64, learning_rate=6e-3, transient_norms=True),
        more_epochs=16,
        grow_epochs=16,
        train_share=0.1,
        waves=GROW_WAVES,
        aims=Aims(min_error_cut=0.15),
    ),
    Study(
        name="grow-cifar10-jpeg",
        title="Growing dendrites on CIFAR-10-JPEG",
        data="cifar10",
        model="resnet8",
        budgets=(0.75,),
        fit=FitConfig(epochs=12, batch_size=128, precision="bfloat16", channels_last=True),
        more_epochs=6,
        grow_epochs=6,
        waves=GROW_WAVES,
        aims=Aims(min_error_cut=0.15),
        note="The images are JPEG copies of CIFAR-10 (quality 75, 4:2:0) and the networks train without augmentation, "
        "in bfloat16: compare with the dense network of this table only, never with published figures.",
    ),
    Study(
        name="gate-cifar10-jpeg",
        title="Gated blocks on CIFAR-10-JPEG",
        data="cifar10",
        model="resnet8",
        budgets=(0.35, 0.5),
        fit=FitConfig(epochs=12, batch_size=128, precision="bfloat16", channels_last=True),
        more_epochs=8,
        cut="less work of gated blocks, as a target",
        waves=GATE_WAVES,
        aims=Aims(max_drop=0.002, max_latency=1 / 1.5),
        note="The images are JPEG copies of CIFAR-10 (quality 75, 4:2:0) and the networks train without augmentation, "
        "in bfloat16: compare with the dense network of this table only, never with published figures. MACs are "
        "counted with all gates open; latency is the mean over validation images.",
    ),
    Study(
        name="grow-digits",
        title="Growing dendrites on the embedded digits",
        data="digits",
        model="digits-cnn",
        budgets=(0.8,),
        fit=FitConfig(epochs=6, batch_size=32),
        more_epochs=4,
        grow_epochs=4,
        waves=GROW_WAVES,
        note="A small study that shows in a minute that everything runs; its 359 test images decide nothing.",
    ),
    Study(
        name="neuroshrink-cifar10-jpeg",
        title="A dendritic ResNet-18 on CIFAR-10-JPEG",
        data="cifar10",
        model="resnet18",
        budgets=(0.9843,),
        fit=FitConfig(epochs=30, batch_size=128, precision="bfloat16", channels_last=True),
        more_epochs=0,
        waves=DENDRITIC_WAVES,
        note="The images are JPEG copies of CIFAR-10 (quality 75, 4:2:0) and the networks train without augmentation, "
        "in bfloat16: compare with the dense network of this table only, never with published figures. All networks "
        "train the same epochs from random weights without a teacher. `plain-groups` is the dendritic network's shape "
        "with groups that are fixed and without gates, `narrow` a ResNet-18 of an eighth of the channels. MACs are "
        "counted with all gates open.",
    ),
    Study(
        name="recipe-digits",
        title="Pruning and branching on the embedded digits",
        data="digits",
        model="digits-cnn",
        budgets=(0.9,),
        fit=FitConfig(epochs=6, batch_size=32),
        more_epochs=8,
        waves=RECIPE_WAVES,
        note="A small study that shows in a minute that everything runs; its 359 test images decide nothing.",
    ),
    Study(
        name="pruning-digits",
        title="Pruning on the embedded digits",
        data="digits",
        model="digits-cnn",
        budgets=(0.6,),
        fit=FitConfig(epochs=6, batch_size=32),
        more_epochs=4,
        waves=PRUNING_WAVES,
        note="A small study that shows in a minute that everything runs; its 359 test images decide nothing.",
    ),
)


def find_study(name: str) -> Study:
    """The study of that name. Raises ValueError naming those that exist."""
    for study in STUDIES:
        if study.name == name:
            return study
    raise ValueError(f"study {name!r} does not exist; there are {', '.join(study.name for study in STUDIES)}")
