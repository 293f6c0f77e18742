"""`export` with networks that do what they should not, and with flags that do nothing: one line, the right code."""

from __future__ import annotations

import json
import os

import pytest
from typer.testing import CliRunner

from edge_dendrite.cli import app

NETWORKS = """
import sys
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, way):
        super().__init__()
        self.linear, self.way = nn.Linear(64, 10), way

    def forward(self, x):
        return self.way(self.linear, x)

def prints():
    def way(linear, x):
        print("a line of the network's own")
        return linear(x.flatten(1))
    return Net(way)

def ends():
    return Net(lambda linear, x: sys.exit(3))

def fixes_its_batch():
    return Net(lambda linear, x: linear(x.view(1, 64)))

def decides():
    return Net(lambda linear, x: linear(x.flatten(1)) * (2 if x.sum() > 0 else 1))
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    (tmp_path / "odd_networks.py").write_text(NETWORKS, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def export(network, *arguments):
    return CliRunner().invoke(app, ["export", network, *(str(one) for one in arguments)])


def refused(result, message, code):
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    lines = [line for line in result.stderr.splitlines() if line != "exporting ..."]
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0], result.stderr


def test_what_a_network_prints_stays_out_of_the_json():
    result = export("odd_networks:prints", "--input-shape", "1,8,8", "--json")
    assert json.loads(result.stdout)["path"].startswith("bundles")
    assert "a line of the network's own" in result.stderr


@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize(
    ("network", "message"),
    [("ends", "sys.exit(3)"), ("decides", "decides by the values of its input")],
)
def test_networks_that_cannot_be_exported_end_with_1_and_one_line(network, message, opset):
    refused(export(f"odd_networks:{network}", "--input-shape", "1,8,8", "--opset", opset), message, 1)


def test_a_network_that_fails_for_several_inputs_has_no_dynamic_batch():
    refused(
        export("odd_networks:fixes_its_batch", "--input-shape", "1,8,8", "--dynamic-batch"),
        "the network fixes its batch",
        1,
    )


def test_data_of_another_shape_are_refused(tmp_path):
    import edge_dendrite as ed
    from edge_dendrite.models.convnets import MnistCNN

    ed.CompressedModel(MnistCNN(), "mnist-cnn", "mnist-cnn", "baseline", (1, 28, 28)).save(tmp_path / "saved")
    refused(export("saved", "--data", "digits"), "takes inputs of (1, 28, 28), the data have (1, 8, 8)", 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("digits-cnn", "--input-shape", "1,8,8", "--target", ""), "board '' is not known"),
        (("digits-cnn", "--input-shape", "1,8,8", "--image-size", "9x9"), "--image-size goes with --data"),
        (("digits-cnn", "--input-shape", "1,8,8", "--data", "digits"), "--input-shape is for want of --data"),
        (("x.onnx", "--input-shape", "1,8,8"), "--input-shape is for a network that is not saved"),
        (("digits-cnn", "--input-shape", "1,8,8", "--factory", "a:b"), "--factory is for the folder"),
        (("digits-cnn", "--input-shape", "1,8,8", "--timing-cache", "c"), "--timing-cache goes with --engine"),
        (("digits-cnn", "--input-shape", "1,8,8", "--inputs", "x.npz"), "--inputs goes with an .onnx file"),
        (("x.onnx", "--opset", "13"), "--opset goes with PyTorch networks"),
    ],
)
def test_a_flag_that_would_do_nothing_is_refused(arguments, message):
    refused(export(*arguments), message, 2)


@pytest.mark.parametrize("out", ["there", "there.tar", "there/below", "sealed/b", "dangling"])
def test_a_place_that_cannot_be_taken_shows_before_the_work(out, place):
    (place / "there").write_bytes(b"mine")
    (place / "there.tar").write_bytes(b"mine")
    (place / "sealed").mkdir(mode=0o555)
    (place / "dangling").symlink_to("nowhere")
    root = os.geteuid() == 0  # who may write everywhere
    export("no-such-network", "--out", "there")  # what it imports, another user may not be able to read
    if root and out == "sealed/b":
        for folder in (place, *place.parents):
            if folder == place or folder.name.startswith(("pytest-", "popen-")):  # pytest's own, for this user alone
                folder.chmod(0o755)
        os.seteuid(65534)
    try:
        result = export("no-such-network", "--input-shape", "1,8,8", "--out", out)  # the place comes before the network
    finally:
        if root:
            os.seteuid(0)
    refused(result, "give another --out", 2)
    assert (place / "there").read_bytes() == b"mine"


def test_a_tar_that_is_there_stays(place):
    (place / "b.tar").write_bytes(b"mine")
    refused(export("digits-cnn", "--input-shape", "1,8,8", "--out", "b", "--tar"), "b.tar: exists already", 2)
    assert (place / "b.tar").read_bytes() == b"mine"


def test_a_user_says_what_a_network_is_in_a_report():
    result = export("odd_networks:prints", "--input-shape", "1,8,8", "--role", "peer:Slim Net", "--json")
    assert json.loads(result.stdout)["manifest"]["role"] == "peer:Slim Net"
    file = f"{json.loads(result.stdout)['path']}/model.onnx"
    again = export(file, "--role", "control:mine", "--out", "again", "--json")
    assert json.loads(again.stdout)["manifest"]["role"] == "control:mine"


def test_a_role_that_no_report_knows_is_refused_before_any_work():
    refused(export("odd_networks:ends", "--role", "peer", "--input-shape", "1,8,8"), "--role 'peer': is no role", 2)
