"""Runs programs of torch.export where this project cannot be imported.

Run as a program: plain_torch.py FOLDER. For each FOLDER/NAME.pt2 prints as JSON how far what it makes of FOLDER/NAME.pt
(inputs and wanted outputs) lies from what is wanted.
"""

import json
import pathlib
import sys


class Missing:
    """The packages of this project are not there, also where they are installed."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("edge_dendrite", "edge_bench", "edge_profiles"):
            raise ModuleNotFoundError(f"No module named {name!r}")


def main(folder):
    sys.meta_path.insert(0, Missing())
    import torch

    errors = {}
    for path in sorted(pathlib.Path(folder).glob("*.pt2")):
        inputs, wanted = torch.load(path.with_suffix(".pt"), weights_only=True)
        made = torch.export.load(path).module()(inputs)
        errors[path.stem] = float((made - wanted).abs().max())
    try:
        import edge_dendrite  # noqa: F401
    except ModuleNotFoundError:
        print(json.dumps(errors))


if __name__ == "__main__":
    main(sys.argv[1])
