"""The embedded data set: 1,797 handwritten 8x8 digits that scikit-learn carries (UCI optdigits test part)."""

from __future__ import annotations

import torch

from edge_dendrite.data.dataset import DataSet, Split, hold_out, image_preprocessing


def read_digits() -> DataSet:
    """The digits as uint8 (n, 1, 8, 8); a fixed fifth is the test data, a tenth of the rest validates."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # 17 grey levels, 0 to 16, spread over a byte, so that preprocessing is that of any 8-bit image.
    images = torch.from_numpy(bunch.images).mul(255.0 / 16.0).round().to(torch.uint8).unsqueeze(1)
    whole = Split(images, torch.from_numpy(bunch.target).long())
    rest, test = hold_out(whole, share=0.2, seed=1)
    train, validation = hold_out(rest)
    labels = tuple(str(number) for number in range(10))
    return DataSet("digits", train, validation, lambda: test, labels, image_preprocessing(train.inputs))
