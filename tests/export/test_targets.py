"""What a board cannot load or run is refused here, by the operator's name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_dendrite.boards import list_boards, load_board
from edge_dendrite.errors import ExportError
from edge_dendrite.export.targets import check_target, is_supported, lowered_ir, opsets_for

FLOAT = TensorProto.FLOAT
PROFILES = Path(__file__).parents[2] / "profiles"


def value(name, shape=(1, 4), kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def file_of(*nodes, opset=13, ir=7, constants=(), outputs=("y",), domains=()):
    """A file from x to y, not checked: damaged ones must be refused by name too."""
    graph = helper.make_graph(list(nodes), "g", [value("x")], [value(one) for one in outputs], list(constants))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(one, 1) for one in domains)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = ir
    return model.SerializeToString()


def node(kind, *inputs, output="y", **attributes):
    return helper.make_node(kind, list(inputs) or ["x"], [output], name=f"the {kind}", **attributes)


def constant(name, array):
    return onnx.numpy_helper.from_array(np.asarray(array), name)


def refusal(content, target="jetson-nano"):
    with pytest.raises(ExportError) as caught:
        check_target(content, load_board(target))
    return str(caught.value)


def test_what_a_board_has_passes_without_a_word():
    for board in list_boards():
        assert check_target(file_of(node("Relu")), board) == ()


def test_opset_and_ir_are_read_from_the_file():
    assert "has opset 14, jetson-nano reads at most 13" in refusal(file_of(node("Relu"), opset=14))
    assert "has IR version 9, jetson-nano reads at most 8" in refusal(file_of(node("Relu"), ir=9))
    assert check_target(file_of(node("Relu"), opset=17, ir=9), load_board("jetson-xavier-nx")) == ()
    assert "opset 18" in refusal(file_of(node("Relu"), opset=18), "jetson-agx-orin@5.1")


@pytest.mark.parametrize(
    ("kind", "target", "words"),
    [
        ("Mod", "jetson-nano", "8.5 is the first"),
        ("Trilu", "jetson-tx2", "8.5 is the first"),
        ("LayerNormalization", "jetson-xavier-nx", "8.6 is the first"),
        ("Unique", "jetson-nano", "TensorRT 8.2.1 of jetson-nano"),
        ("Unique", "jetson-agx-orin", "TensorRT 10.3 of jetson-agx-orin"),
    ],
)
def test_an_operator_that_tensorrt_lacks_is_refused_by_name(kind, target, words):
    said = refusal(file_of(node(kind)), target)
    assert said.startswith(f"{kind} 'the {kind}'") and words in said


def test_an_operator_is_found_inside_of_a_way_of_an_if():
    ways = [helper.make_graph([node("Mod", "x", "x", output=one)], one, [], [value(one)]) for one in ("a", "b")]
    said = refusal(file_of(helper.make_node("If", ["c"], ["y"], then_branch=ways[0], else_branch=ways[1])))
    assert said.startswith("Mod 'the Mod'")


def test_what_is_not_known_of_a_version_is_said_and_not_refused():
    """Gelu is in the table of 10.15; of 10.3 there is none, nor a complete one of 8.6."""
    content = file_of(node("Gelu"), opset=20, ir=9)
    assert check_target(content, load_board("jetson-agx-orin")) == ("whether TensorRT 10.3 has Gelu is not known here",)
    assert check_target(content, load_board("raspberry-pi-5")) == ()  # it has no TensorRT


@pytest.mark.parametrize(
    ("operator", "version", "answer"),
    [
        ("Relu", "8.0.1", None),  # older than every table
        ("Relu", "8.2.1", True),
        ("Mod", "8.4", False),
        ("Mod", "8.5.2", True),
        ("Mod", "11.4", True),
        ("LayerNormalization", "8.5.2", False),
        ("LayerNormalization", "8.6.2", True),
        ("GroupNormalization", "8.6.2", None),
        ("GroupNormalization", "10.15", True),
        ("Unique", "10.3", False),  # neither before nor after
        ("Unique", "10.15.1", False),
        ("Unique", "12.0", None),  # newer than every table
    ],
)
def test_support_by_version(operator, version, answer):
    tables = json.loads((PROFILES / "software/tensorrt-operators.json").read_bytes())["tables"]
    assert is_supported(operator, version, tables) is answer


def test_the_tables_are_in_order_and_repeat_nothing():
    tables = json.loads((PROFILES / "software/tensorrt-operators.json").read_bytes())["tables"]
    names = [name for table in tables for name in table["operators"]]
    assert len(names) == len(set(names)) > 150
    first = [tuple(int(part) for part in table["first"].split(".")) for table in tables]
    assert first == sorted(first) and all(table["source"] for table in tables)
    schemas = {one.name for one in onnx.defs.get_all_schemas_with_history()}
    old = {"ImageScaler", "ParametricSoftplus", "ScaledTanh"}  # of before opset 9, and still in the tables
    assert set(names) - schemas <= old


def test_operators_of_other_domains_are_refused_where_tensorrt_runs():
    content = file_of(node("FastThing", domain="com.example"), domains=("com.example",))
    assert "domain 'com.example'" in refusal(content)
    assert check_target(content, load_board("generic-x86")) == ()


def quantized(zero):
    scale = constant("s", np.float32(0.1))
    return file_of(
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="into"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="from"),
        constants=[scale, constant("z", np.int8(zero))],
    )


def test_zero_points_must_be_zero_for_tensorrt():
    assert check_target(quantized(0), load_board("jetson-agx-orin")) == ()
    assert "'into': its zero point is not 0" in refusal(quantized(3), "jetson-agx-orin")
    assert check_target(quantized(3), load_board("generic-x86")) == ()
    moving = file_of(
        node("Cast", "x", output="z", to=TensorProto.INT8),
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"], name="into"),
        constants=[constant("s", np.float32(0.1))],
    )
    assert "zero point is not 0" in refusal(moving, "jetson-agx-orin")


def test_int8_is_refused_where_the_hardware_has_none():
    assert "'into': the file is quantized, and jetson-nano runs fp32, fp16" in refusal(quantized(0))


def test_ways_of_an_if_need_names_of_their_own_and_equal_ranks():
    def choice(first, second, ranks=(2, 2)):
        ways = [
            helper.make_graph([node("Relu", output=name)], "way", [], [value(name, (1,) * rank)])
            for name, rank in zip((first, second), ranks, strict=True)
        ]
        return file_of(helper.make_node("If", ["c"], ["y"], name="gate", then_branch=ways[0], else_branch=ways[1]))

    assert check_target(choice("a", "b"), load_board("jetson-nano")) == ()
    assert "If 'gate': both of its ways call their output 'a'" in refusal(choice("a", "a"))
    assert "If 'gate': its ways give outputs of [3] and [2] dimensions" in refusal(choice("a", "b", (2, 3)))


def test_an_ir_version_is_lowered_only_where_nothing_newer_is_in_the_file():
    nano = load_board("jetson-nano")
    plain = onnx.load_model_from_string(lowered_ir(file_of(node("Relu"), ir=10), nano))
    assert plain.ir_version == 8
    small = constant("w", np.zeros(4, np.float32))
    small.data_type, small.raw_data = TensorProto.FLOAT8E4M3FN, b"\0" * 4
    newer = file_of(node("Relu"), ir=10, constants=[small])
    assert lowered_ir(newer, nano) == newer
    fine = file_of(node("Relu"), ir=7)
    assert lowered_ir(fine, nano) == fine
    too_new = file_of(node("Relu"), opset=21, ir=10)  # its opset needs that version
    assert lowered_ir(too_new, nano) == too_new
    unknown = file_of(node("Relu"), ir=13)
    assert lowered_ir(unknown, load_board("raspberry-pi-5")) == unknown


def test_opsets_to_try_end_with_the_oldest():
    nano, xavier, pi = (load_board(one) for one in ("jetson-nano", "jetson-agx-xavier", "raspberry-pi-4"))
    assert opsets_for(None, None) == (17,) and opsets_for(None, 20) == (20,)
    assert opsets_for(nano, None) == (13,) and opsets_for(xavier, None) == (17, 16, 13)
    assert opsets_for(pi, None) == (17, 16, 13) and opsets_for(pi, 21) == (21,)
    with pytest.raises(ExportError, match="opset 17: jetson-nano reads at most opset 13"):
        opsets_for(nano, 17)
    figures = {**nano.figures, "max_opset": {"value": 11, "source": "made up"}}
    with pytest.raises(ExportError, match="13 is the oldest that can be written"):
        opsets_for(replace(nano, figures=figures), None)
