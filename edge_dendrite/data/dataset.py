"""A data set: training and validation data, and test data that are read only when asked for.

Shape suffixes: n samples, c channels, h height, w width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch

from edge_dendrite.errors import DataError


@dataclass(frozen=True)
class Preprocessing:
    """What turns a raw 8-bit image into the network's input: resize, scale to 0..1, subtract mean, divide by std.

    mean and std are per channel and refer to values from 0 to 1. resize: the whole image to height x width, by Pillow's
    bilinear filter, which widens when an image shrinks (antialias), rounded to 8 bits; images of that size stay as they
    are.
    """

    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: str = "NCHW"
    resize: str = "bilinear"
    scale: float = 1.0 / 255.0

    @property
    def colour(self) -> str:
        """The order of the channels."""
        return {1: "grey", 3: "RGB"}.get(self.channels, "unspecified")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, as it stands in the bundle's manifest: all that a reader needs (deploy/edge_bench/README.md)."""
        rules = {**asdict(self), "mean": list(self.mean), "std": list(self.std)}
        return {**rules, "antialias": True, "colour": self.colour}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """The inverse of `to_dict`; also of what earlier versions wrote, without colour and antialias."""
        known = {key: value for key, value in values.items() if key not in ("antialias", "colour")}
        return cls(**{**known, "mean": tuple(known["mean"]), "std": tuple(known["std"])})

    def apply(self, images_nchw: torch.Tensor) -> torch.Tensor:
        """uint8 (n, c, h, w) to float32 of the same shape, on the same device."""
        mean = torch.tensor(self.mean, device=images_nchw.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=images_nchw.device).view(1, -1, 1, 1)
        return (images_nchw.float() * self.scale - mean) / std


@dataclass(frozen=True)
class Split:
    """Inputs (n, ...) and targets (n, ...); inputs are raw (uint8 images) where the data set has a preprocessing."""

    inputs: torch.Tensor
    targets: torch.Tensor

    def __post_init__(self) -> None:
        if not isinstance(self.inputs, torch.Tensor) or not isinstance(self.targets, torch.Tensor):
            seen = f"{type(self.inputs).__name__} and {type(self.targets).__name__}"
            raise DataError(f"inputs and targets must be tensors, not {seen}; see torch.from_numpy")
        if len(self.inputs) != len(self.targets):
            raise DataError(f"{len(self.inputs)} inputs but {len(self.targets)} targets")
        if len(self.inputs) == 0:
            raise DataError("a split without a sample")

    def __len__(self) -> int:
        return len(self.inputs)

    def fingerprint(self) -> str:
        """sha256 over all inputs and targets."""
        digest = hashlib.sha256()
        for tensor in (self.inputs, self.targets):
            digest.update(repr((tensor.dtype, tuple(tensor.shape))).encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def subset(self, indices: torch.Tensor) -> Split:
        """The samples at `indices`."""
        return Split(self.inputs[indices], self.targets[indices])


@dataclass(frozen=True)
class DataSet:
    """Training and validation data. `read_test` is called once, at the end, when nothing is left to choose."""

    name: str
    train: Split
    validation: Split
    read_test: Callable[[], Split]
    labels: tuple[str, ...]
    preprocessing: Preprocessing | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch dimension."""
        return tuple(self.train.inputs.shape[1:])

    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        """Raw inputs of this data set as the network takes them."""
        return self.preprocessing.apply(inputs) if self.preprocessing else inputs

    def read(
        self, split: Split, indices: torch.Tensor, device: torch.device | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(inputs, targets) of the samples at `indices`, ready for a network on `device`; None: where the data are."""
        # Images travel as bytes and become floats where they are used.
        return self.prepare(split.inputs[indices].to(device)), split.targets[indices].to(device)

    def batches(
        self,
        split: Split,
        batch_size: int,
        generator: torch.Generator | None = None,
        device: torch.device | None = None,
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(inputs, targets) in batches on `device`; shuffled by `generator`, in order without one."""
        for indices in self.index_batches(split, batch_size, generator):
            yield self.read(split, indices, device)

    def index_batches(
        self, split: Split, batch_size: int, generator: torch.Generator | None = None
    ) -> list[torch.Tensor]:
        """Which samples each batch of `batches` holds."""
        order = torch.randperm(len(split), generator=generator) if generator else torch.arange(len(split))
        chunks = list(order.split(batch_size))
        if generator and len(chunks) > 1 and len(chunks[-1]) == 1:
            # Batch norm cannot train on a single sample.
            chunks[-2:] = [torch.cat(chunks[-2:])]
        return chunks

    def num_train_batches(self, batch_size: int) -> int:
        """How many batches an epoch of shuffled training data has."""
        whole, rest = divmod(len(self.train), batch_size)
        return max(1, whole + (rest > 1))

    def fingerprint(self) -> str:
        """sha256 over the training and validation data: results made from other data are never taken for these."""
        parts = (self.name, self.labels, self.preprocessing, self.train.fingerprint(), self.validation.fingerprint())
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    @classmethod
    def from_tensors(
        cls,
        name: str,
        *,
        train: tuple[torch.Tensor, torch.Tensor],
        test: tuple[torch.Tensor, torch.Tensor],
        validation: tuple[torch.Tensor, torch.Tensor] | None = None,
        labels: tuple[str, ...] = (),
    ) -> DataSet:
        """A data set of the user's own: inputs (n, ...) float32, ready for the network, targets (n,) int64 classes.

        Without validation data a tenth of the training data is set apart. Raises DataError on unequal lengths.
        """
        for split, pair in (("train", train), ("test", test), ("validation", validation or train)):
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise DataError(f"{name}: {split} must be a pair (inputs, targets), not {type(pair).__name__}")
        whole, tested = Split(*train), Split(*test)
        kept, held_out = (whole, Split(*validation)) if validation else hold_out(whole)
        return cls(name, kept, held_out, lambda: tested, labels or _numbered_labels(whole))


def hold_out(split: Split, share: float = 0.1, seed: int = 0) -> tuple[Split, Split]:
    """(training, validation): a fixed random share is set apart. Raises DataError with too few samples."""
    num_held_out = max(1, round(len(split) * share))
    if num_held_out >= len(split):
        raise DataError(f"{len(split)} training sample(s) are too few to set validation data apart")
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
    return split.subset(order[num_held_out:]), split.subset(order[:num_held_out])


def image_preprocessing(images_nchw: torch.Tensor) -> Preprocessing:
    """Preprocessing with mean and standard deviation per channel over uint8 training images (n, c, h, w)."""
    # By histogram: exact, and without a float copy of all images.
    channels, levels = images_nchw.shape[1], torch.arange(256, dtype=torch.float64) / 255.0
    means, stds = [], []
    for channel in range(channels):
        counts = torch.bincount(images_nchw[:, channel].flatten(), minlength=256).double()
        mean = float((counts * levels).sum() / counts.sum())
        variance = float((counts * (levels - mean) ** 2).sum() / counts.sum())
        means.append(round(mean, 6))
        stds.append(round(max(variance**0.5, 1e-3), 6))
    height, width = images_nchw.shape[2:]
    return Preprocessing(channels, int(height), int(width), tuple(means), tuple(stds))


def _numbered_labels(split: Split) -> tuple[str, ...]:
    if split.targets.is_floating_point() or split.targets.dim() != 1:
        return ()
    return tuple(str(number) for number in range(int(split.targets.max()) + 1))
