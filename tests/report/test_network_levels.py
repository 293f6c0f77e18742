"""Which layers of two networks belong together: pruned, branched, grown, gated, recurrent, attention."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from edge_dendrite.report.charts.network_levels import MAX_LEVELS, find_levels, fold, is_chain, line_value
from edge_dendrite.report.charts.network_picture import network_picture
from edge_dendrite.report.pictures import draw_pictures
from edge_dendrite.report.pool import Layer
from edge_dendrite.report.rows import build_report


def layer(name, num_inputs, num_units, num_parameters=90, num_macs=90, groups=1):
    return Layer(name, "linear", num_inputs, num_units, num_parameters, num_macs, groups)


DENSE = (layer("conv", 1, 8), layer("fc", 32, 16, 528), layer("out", 16, 10, 170))


def by_name(after, before=DENSE):
    return {level.name: level for level in find_levels(before, after)}


def test_pruned_layers_share_their_levels():
    levels = by_name((layer("conv", 1, 5), layer("fc", 20, 9), layer("out", 9, 10)))
    assert [(level.before.layer.num_units, level.after.layer.num_units) for level in levels.values()] == [
        *((8, 5), (16, 9), (10, 10))
    ]
    assert not any(level.has_middle for level in levels.values())


def test_branches_and_their_soma_are_one_level():
    # The soma stands first, as in the module.
    after = (DENSE[0], layer("fc.soma", 8, 16, 144), layer("fc.branches", 32, 8, 40, groups=8), DENSE[2])
    level = by_name(after)["fc"]
    assert level.after.layer.num_units == 16
    assert (level.after.branches.num_units, level.after.branches.num_groups) == (8, 8)
    assert level.after.num_parameters == 184


def test_dendrites_of_all_sets_stand_beside_their_layer():
    after = (*DENSE[:2], layer("out.layer", 16, 10, 170), layer("out.sets.0.branches", 16, 4, 68))
    after += (
        layer("out.sets.0.soma", 4, 10, 40),
        layer("out.sets.1.branches", 16, 2, 34),
        layer("out.sets.1.soma", 2, 10, 20),
    )
    level = by_name(after)["out"]
    assert (level.after.dendrites.num_units, level.after.dendrites.num_parameters) == (6, 162)
    assert not level.after.reads_part


def test_dendrites_on_a_soma_of_branches():
    after = (
        DENSE[0],
        layer("fc.soma.layer", 8, 16),
        layer("fc.soma.sets.0.branches", 8, 3),
        layer("fc.branches", 32, 8),
    )
    after += (layer("fc.soma.sets.0.soma", 3, 16), DENSE[2])
    level = by_name(after)["fc"]
    assert (level.after.branches.num_units, level.after.dendrites.num_units) == (8, 3)


def test_dendrites_inside_of_torchs_blocks_find_their_layer():
    before = (layer("gru", 28, 64), layer("a.q_proj", 64, 64), layer("fc", 64, 10))
    after = (layer("gru.layer", 28, 40), layer("gru.l0.sets.0.branches", 28, 4), layer("gru.l0.sets.0.soma", 4, 120))
    after += (layer("a.layer.q_proj", 40, 64), layer("a.q_proj.sets.0.branches", 40, 2), layer("fc", 64, 10))
    levels = by_name(after, before)
    assert levels.keys() == {"gru", "a.q_proj", "fc"}
    assert levels["gru"].after.dendrites.num_units == 4
    assert levels["a.q_proj"].after.dendrites.num_units == 2


def test_gates_are_told_and_their_block_keeps_its_names():
    before = (layer("b.conv1", 4, 4), layer("b.conv2", 4, 4), layer("fc", 4, 2))
    after = (layer("b.block.conv1", 4, 4), layer("b.block.conv2", 4, 4), layer("b.bypass", 4, 4, num_macs=0))
    after += (layer("b.gate.hidden", 4, 8, num_macs=0), layer("b.gate.decide", 8, 1, num_macs=0), layer("fc", 4, 2))
    levels = by_name(after, before)
    assert {name: level.after.gate for name, level in levels.items()} == {"b.conv1": "b", "b.conv2": "b", "fc": None}


def test_segments_read_a_share_of_what_they_could():
    after = (layer("conv", 1, 4), layer("fc.layer", 8, 16), DENSE[2])
    # Half of the channels are left, so 16 inputs would come; 8 are read.
    assert by_name(after)["fc"].read_share == pytest.approx(0.5)
    assert by_name(DENSE)["fc"].read_share == 1.0


def test_projections_of_attention_are_one_level():
    before = tuple(layer(f"attn.{one}", 32, 32, 100) for one in ("q_proj", "k_proj", "v_proj", "out_proj"))
    after = tuple(layer(f"attn.{one}", 32, 24, 75) for one in ("q_proj", "k_proj", "v_proj")) + (
        layer("attn.out_proj", 24, 32),
    )
    levels = by_name(after, before)
    assert list(levels) == ["attn.qkv", "attn.out_proj"]
    assert (levels["attn.qkv"].before.layer.num_units, levels["attn.qkv"].after.num_parameters) == (96, 225)


def test_a_users_own_layer_called_layer_stays_what_it_is():
    own = (layer("encoder.layer", 4, 4), layer("encoder.block", 4, 4), layer("soma", 4, 4), layer("gate", 4, 4))
    assert list(fold(own, {one.name for one in own})) == [one.name for one in own]


def test_replaced_layers_are_removed_and_new():
    levels = by_name((DENSE[0], layer("other", 8, 16), DENSE[2]))
    fates = {name: (level.before is not None, level.after is not None) for name, level in levels.items()}
    assert fates == {"conv": (True, True), "fc": (True, False), "other": (False, True), "out": (True, True)}


def test_deep_networks_are_drawn_by_the_same_layers_on_both_sides():
    before = [layer(f"l{n}", 8, 8, 1000 - n) for n in range(60)]
    # After cutting, other layers are the largest; they are compared all the same.
    after = [layer(f"l{n}", 8, 8, 10 + n) for n in range(60)]
    levels = find_levels(before, after)
    assert [level.name for level in levels] == [f"l{n}" for n in range(MAX_LEVELS)]
    assert all(level.before and level.after for level in levels)


def test_shortcuts_are_noticed():
    chain = [level.before for level in find_levels((layer("a", 1, 8), layer("b", 32, 4)), ())]
    assert is_chain(chain)
    more = find_levels((layer("a", 1, 8), layer("b", 32, 4), layer("shortcut", 1, 4)), ())
    assert not is_chain([level.before for level in more])


def test_a_line_counts_branches_and_dendrites_too():
    after = (layer("fc.soma", 8, 16, 900_000), layer("fc.branches", 32, 8, 900_000))
    assert line_value(find_levels((layer("fc", 8, 16, 90),), after)) == 2000


@pytest.fixture
def drawn(bundle, measurement):
    def make(before, after):
        runs = []
        for name, role, layers in (("old", "baseline", before), ("new", "compressed", after)):
            made = bundle(name, role, (9, 14, 22, 10), 350)
            made["stats"]["layers"] = [vars(one) for one in layers]
            runs.append(measurement(made, num=70, minute=len(runs)))
        pictures = draw_pictures(build_report(runs, title="t"))
        return next((one for one in pictures if one.title == "Before and after"), None)

    return make


def texts(svg):
    return ["".join(one.itertext()) for one in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_branches_dendrites_and_gates_are_drawn_and_explained(drawn):
    after = (layer("conv.soma", 2, 8), layer("conv.branches", 1, 2, groups=1), layer("fc.block", 32, 16))
    after += (
        layer("fc.gate.decide", 2, 1, num_macs=0),
        layer("out.layer", 16, 10),
        layer("out.sets.0.branches", 16, 1),
    )
    picture = drawn(DENSE, after)
    assert {"2 branches", "1 dendrite"} <= set(texts(picture.svg))
    for words in ("Green: branches", "Green: dendrites", "A diamond is a gate"):
        assert words in picture.caption
    assert 'data-tip="gate of fc"' in picture.svg


@pytest.mark.parametrize(
    "names",
    [["x"] * 300, [f"{'a.' * 90}{n}" for n in range(300)], ["gate.decide", "block", "bypass", "sets.0.branches"]],
)
def test_names_of_any_kind_make_a_picture_or_none(drawn, names):
    odd = tuple(layer(name, 3, 2) for name in names)
    for before, after in ((DENSE, odd), (odd, DENSE), (odd, odd)):
        picture = drawn(before, after)
        assert picture is None or len(picture.svg) < 400_000


def test_a_network_without_layers_has_no_picture(drawn):
    assert drawn(DENSE, ()) is None


@pytest.mark.parametrize("num_units", [1, 3, 100_000, 1 << 40])
def test_branches_of_any_number_stay_a_small_picture(drawn, num_units):
    wide = (layer("fc.soma", num_units, num_units), layer("fc.branches", 1, num_units, num_units, groups=num_units))
    assert len(drawn(DENSE, wide).svg) < 400_000


def test_the_picture_itself_is_well_formed(drawn, study):
    rows = build_report(study, title="t").rows
    assert network_picture(rows[0], rows[1]).startswith("<svg")
