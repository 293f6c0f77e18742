"""Bundles in fp16 and int8 of a small trained network: measured, within a bound, refused in words."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from typer.testing import CliRunner

from edge_dendrite.cli import app
from edge_dendrite.compress.model import CompressedModel
from edge_dendrite.config import ExportConfig, PrecisionConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.errors import ConfigError, ExportError
from edge_dendrite.export import precisions
from edge_dendrite.export.bundle import export_bundle
from edge_dendrite.export.from_file import export_file
from edge_dendrite.export.half import to_half
from edge_dendrite.export.onnx import export_onnx
from edge_dendrite.export.quantize import Quantizer
from edge_dendrite.export.sensitivity import quantize_within
from edge_dendrite.export.session import open_session, run_onnx


def config(precision, target=None, **settings):
    return ExportConfig(13, target, precision=PrecisionConfig(precision=precision, timing_s=0.05, **settings))


@pytest.fixture(scope="module")
def int8(saved_baseline, digits, tmp_path_factory):
    return export_bundle(saved_baseline, tmp_path_factory.mktemp("i") / "b", config("int8"), data=digits)


def outputs_of(bundle, inputs):
    return run_onnx(open_session((bundle.path / "model.onnx").read_bytes()), inputs)


def test_an_int8_bundle_says_what_it_is_and_how_it_was_measured(int8, digits):
    manifest = int8.manifest
    assert manifest["model"]["precision"] == "int8" and manifest["model"]["opset"] == 13
    assert manifest["stats"]["onnx_bytes"] == (int8.path / "model.onnx").stat().st_size
    measured = manifest["precisions"]
    assert (measured["asked"], measured["written"]) == ("int8", "int8")
    rows = {row["precision"]: row for row in measured["table"]}
    assert list(rows) == ["fp32", "fp16", "int8"]
    x, targets = digits.prepare(digits.validation.inputs).numpy(), digits.validation.targets.numpy()
    assert rows["int8"]["metric"] == pytest.approx((outputs_of(int8, x).argmax(1) == targets).mean())
    assert rows["int8"]["drop_points"] == pytest.approx(100 * (rows["fp32"]["metric"] - rows["int8"]["metric"]))
    assert rows["int8"]["num_bytes"] < rows["fp16"]["num_bytes"] < rows["fp32"]["num_bytes"]
    assert rows["int8"]["ratio_to_fp32"]["low"] <= rows["int8"]["ratio_to_fp32"]["value"]
    assert measured["settings"]["calibration"] == "minmax"
    assert any("recommended on this CPU" in sentence for sentence in measured["words"])
    tested = digits.prepare(digits.read_test().inputs).numpy()
    seen = (outputs_of(int8, tested).argmax(1) == digits.read_test().targets.numpy()).mean()
    assert manifest["accuracy"]["split"] == "test" and manifest["accuracy"]["value"] == pytest.approx(seen)


def test_the_tolerance_lets_other_kernels_pass_and_a_wrong_network_fail(int8, saved_baseline):
    import onnxruntime

    reference = int8.manifest["reference"]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = onnxruntime.InferenceSession((int8.path / "model.onnx").read_bytes(), options)
    wrong = onnx.load(int8.path / "model.onnx")
    weight = next(one for one in wrong.graph.initializer if one.name.endswith("_quantized") and len(one.dims) == 4)
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    broken = open_session(wrong.SerializeToString())
    failed = 0
    for case in reference["cases"]:
        x = np.frombuffer((int8.path / case["inputs"][0]).read_bytes(), "<f4").reshape(1, 1, 8, 8)
        y = np.frombuffer((int8.path / case["outputs"][0]).read_bytes(), "<f4").reshape(1, -1)
        assert np.allclose(plain.run(None, {"input": x})[0], y, atol=reference["atol"], rtol=reference["rtol"])
        failed += not np.allclose(broken.run(None, {"input": x})[0], y, atol=reference["atol"], rtol=reference["rtol"])
    assert failed == len(reference["cases"])


def test_fp16_keeps_float_inputs_and_outputs_and_needs_no_data(saved_baseline, tmp_path):
    bundle = export_bundle(saved_baseline, tmp_path / "b", config("fp16"))
    model = onnx.load(bundle.path / "model.onnx")
    assert bundle.manifest["model"]["precision"] == "fp16"
    assert {one.data_type for one in model.graph.initializer if one.data_type != 7} == {onnx.TensorProto.FLOAT16}
    parity = bundle.manifest["precisions"]["table"][1]["parity"]
    assert 0 < parity["max_abs_error"] < 0.1
    assert bundle.manifest["reference"]["atol"] == max(1e-4, 4 * parity["max_abs_error"])
    assert "accuracy" not in bundle.manifest


def test_auto_writes_what_it_recommends_among_what_the_board_has(saved_baseline, digits, tmp_path):
    bundle = export_bundle(saved_baseline, tmp_path / "b", config("auto", "jetson-nano"), data=digits)
    measured = bundle.manifest["precisions"]
    assert measured["written"] == measured["recommended"] in ("fp32", "fp16")
    assert measured["table"][2]["reason"] == "the target has no such precision"


def test_what_the_target_does_not_take_is_not_recommended_and_said(saved_baseline, digits, tmp_path, monkeypatch):
    """The target's answer is made up: int8 as it is made here has nothing that a board with int8 refuses."""
    checked = precisions.check_target

    def refusing(content, board):
        if b"QuantizeLinear" in content:
            raise ExportError("no quantizers there")
        return checked(content, board)

    monkeypatch.setattr(precisions, "check_target", refusing)
    settings = config("auto", "jetson-orin-nano@5.1")
    measured = export_bundle(saved_baseline, tmp_path / "b", settings, data=digits).manifest["precisions"]
    assert measured["table"][2]["reason"] == "no quantizers there" and measured["written"] != "int8"
    with pytest.raises(ExportError, match="no quantizers there"):
        export_bundle(saved_baseline, tmp_path / "c", config("int8", "jetson-orin-nano@5.1"), data=digits)


def test_int8_for_a_board_reaches_manifest_and_recipe(saved_baseline, digits, tmp_path):
    wanted = ExportConfig(target="jetson-orin-nano@5.1", precision=PrecisionConfig(precision="int8", timing_s=0.05))
    manifest = export_bundle(saved_baseline, tmp_path / "b", wanted, data=digits).manifest
    assert (manifest["target"], manifest["notices"]) == ("jetson-orin-nano@5.1", [])
    assert (manifest["model"]["precision"], manifest["model"]["opset"]) == ("int8", 17)
    recipe = manifest["engine_recipe"]
    assert (recipe["precision"], recipe["min_tensorrt"], recipe["unsupported"]) == ("int8", "8.4", [])


def test_what_cannot_be_had_is_refused_before_any_work(saved_baseline, digits, tmp_path):
    with pytest.raises(ConfigError, match="jetson-nano: has no int8"):
        export_bundle(saved_baseline, tmp_path / "b", config("int8", "jetson-nano"), data=digits)
    with pytest.raises(ConfigError, match="give data"):
        export_bundle(saved_baseline, tmp_path / "b", config("int8"))
    with pytest.raises(ExportError, match="NaN or infinite"):
        broken = digits.prepare(digits.train.inputs[:64]).clone()
        broken[3] = float("nan")
        data = DataSet.from_tensors(
            "nan",
            train=(broken, digits.train.targets[:64]),
            test=(broken, digits.train.targets[:64]),
            validation=(broken[8:], digits.train.targets[8:64]),
        )
        export_bundle(saved_baseline, tmp_path / "b", config("int8"), data=data)
    assert list(tmp_path.iterdir()) == []


def test_sensitive_layers_go_back_to_float_until_the_bound_holds(trained, digits):
    """One channel of the first layer has weights that drown all others in a scale that they share as an activation."""
    import copy

    module = copy.deepcopy(trained)
    first = next(one for one in module.modules() if isinstance(one, torch.nn.Conv2d))
    with torch.no_grad():
        first.weight[0] *= 3000.0  # its outputs set the range of the whole activation
        following = [one for one in module.modules() if isinstance(one, torch.nn.Conv2d)][1]
        following.weight[:, 0] /= 3000.0
    fp32 = export_onnx(module, (1, 8, 8), 13)
    x = digits.prepare(digits.validation.inputs).numpy()
    targets = digits.validation.targets.numpy()
    quantizer = Quantizer(fp32, digits.prepare(digits.train.inputs[:128]).numpy(), PrecisionConfig(precision="int8"))
    outputs = run_onnx(open_session(fp32.content), x)

    def run(model):
        return run_onnx(open_session(model.content), x)

    def score(seen):
        return float((seen.argmax(1) == targets).mean())

    whole = quantize_within(quantizer, outputs, run, score, None)
    assert whole.drop_points > 5 and whole.num_runs == 1
    sweep = quantize_within(quantizer, outputs, run, score, 1.0)
    assert sweep.result is not None and sweep.drop_points <= 1.0
    assert 0 < len(sweep.kept_float) < len(quantizer.layers)
    assert 100 * (score(outputs) - score(run(sweep.result.model))) == pytest.approx(sweep.drop_points)
    assert sweep.sensitivities[0].drop_points == max(one.drop_points for one in sweep.sensitivities)
    assert sweep.num_runs <= 1 + len(quantizer.layers) + len(quantizer.layers).bit_length()
    assert "layers in float" in sweep.words


def test_a_bound_that_no_layer_holds_ends_at_fp32_in_words(saved_baseline, digits, tmp_path):
    reference = []

    def exact(outputs, targets):
        """1 for the outputs of fp32 itself only."""
        if not reference:
            reference.append(outputs.clone())
        return float(outputs.shape != reference[0].shape or torch.equal(outputs, reference[0]))

    bundle = export_bundle(
        saved_baseline, tmp_path / "b", config("int8", max_drop_points=0.1), data=digits, metric=exact
    )
    measured = bundle.manifest["precisions"]
    assert bundle.manifest["model"]["precision"] == measured["written"] == "fp32"
    assert any("no layer can be int8 within 0.1 points" in one for one in measured["words"])
    assert any("int8 was asked for; the file is fp32" in one for one in measured["words"])


def test_a_users_own_onnx_file_with_data(bundle13, digits, tmp_path):
    bundle = export_file(bundle13.path / "model.onnx", tmp_path / "b", config("int8"), data=digits)
    assert bundle.manifest["model"]["precision"] == "int8"
    assert bundle.manifest["accuracy"]["split"] == "test"
    with pytest.raises(ExportError, match="is int8 already"):
        export_file(bundle.path / "model.onnx", tmp_path / "c", config("int8"), data=digits)
    again = export_file(bundle.path / "model.onnx", tmp_path / "d", data=digits)
    assert again.manifest["model"]["precision"] == "int8" and "precisions" not in again.manifest


def test_graphs_that_decide_have_no_fp16_in_words(trained):
    fp32 = export_onnx(trained, (1, 8, 8), 13)
    model = onnx.load_model_from_string(fp32.content)
    cond = onnx.helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True)))
    branch = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["before"], ["inner"])], "g", [], [onnx.ValueInfoProto(name="inner")]
    )
    other = onnx.helper.make_graph(
        [onnx.helper.make_node("Neg", ["before"], ["negated"])], "h", [], [onnx.ValueInfoProto(name="negated")]
    )
    model.graph.node[-1].output[0] = "before"
    model.graph.node.extend(
        [cond, onnx.helper.make_node("If", ["c"], ["output"], then_branch=branch, else_branch=other)]
    )
    import dataclasses

    with pytest.raises(ExportError, match="subgraphs .* cannot be cast to fp16; take fp32 or int8"):
        to_half(dataclasses.replace(fp32, content=model.SerializeToString()))


def test_the_command_prints_the_table_and_json(saved_baseline, bundle13, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved_baseline.save(tmp_path / "m")
    run = CliRunner().invoke
    flags = ["--data", "digits", "--precision", "int8", "--calibration", "entropy", "--max-drop", "1"]
    told = run(app, ["export", "m", *flags, "--out", "b"])
    assert told.exit_code == 0, told.output
    assert "int8 (written)" in told.output and "time over fp32" in told.output
    made = run(app, ["export", str(bundle13.path / "model.onnx"), *flags, "--json"])
    assert made.exit_code == 0, made.output
    manifest = json.loads(made.stdout)["manifest"]
    assert manifest["precisions"]["settings"]["max_drop_points"] == 1.0
    for words, expected in (
        (["export", "m", "--precision", "int8"], "--data"),
        (["export", "m", "--precision", "int9"], "fp32, fp16, int8, auto"),
        (["export", "m", "--max-drop", "0.1", "--data", "digits"], "go with int8 or auto"),
        (["export", "m", "--precision", "fp16", "--calibration", "entropy"], "for --precision int8"),
        (
            ["export", "m", "--precision", "int8", "--data", "digits", "--target", "jetson-nano"],
            "jetson-nano: has no int8",
        ),
        (["export", "m", *flags, "--keep-float", "nothing", "--out", "x"], "no layer that can be quantized"),
    ):
        refused = run(app, words)
        assert refused.exit_code != 0 and expected in refused.output + refused.stderr, (words, refused.output)
    assert not (tmp_path / "x").exists()


def test_settings_that_make_no_sense_are_refused():
    for settings, words in (
        ({"precision": "fp16", "max_drop_points": 0.1}, "go with int8 or auto"),
        ({"calibration": "mean"}, "minmax, entropy, percentile"),
        ({"percentile": 50.0}, "percentile"),
        ({"num_calibration_samples": 7}, "num_calibration_samples"),
        ({"keep_float": ("(",)}, "regular expression"),
    ):
        with pytest.raises(ConfigError, match=words):
            PrecisionConfig(**settings)
    whole = ExportConfig(precision=PrecisionConfig(precision="int8", keep_float=("a",)))
    assert ExportConfig.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole


def test_a_network_without_float_weights_has_no_fp16(tmp_path):
    model = CompressedModel(torch.nn.Flatten(), "flat", "mine:make", "as given", (1, 2, 2))
    with pytest.raises(ExportError, match="no float weights"):
        export_bundle(model, tmp_path / "b", config("fp16"))
