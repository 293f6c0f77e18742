"""Profiles of boards: all of them sound, and a damaged one refused by file and key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_bench.power import meter as power
from edge_dendrite.boards import list_boards, load_board, parse_board, parse_software, require_structured_sparsity
from edge_dendrite.errors import ConfigError, EdgeDendriteError

NAMES = [
    "generic-arm64",
    "generic-x86",
    "jetson-agx-orin",
    "jetson-agx-thor",
    "jetson-agx-xavier",
    "jetson-nano",
    "jetson-orin-nano",
    "jetson-orin-nx",
    "jetson-tx2",
    "jetson-xavier-nx",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "rockchip-rk3588",
]
PROFILES = Path(__file__).parents[1] / "profiles"


def refusal(fields: object, file_name: str = "jetson-nano.json") -> str:
    content = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    with pytest.raises(EdgeDendriteError) as caught:
        parse_board(content, file_name)
    assert str(caught.value).startswith(f"profile {file_name}: ")
    return str(caught.value)


@pytest.fixture
def fields():
    """The Nano's profile with its system's figures in it, as a dict to damage."""
    hardware = json.loads((PROFILES / "jetson-nano.json").read_bytes())
    system = json.loads((PROFILES / "software/jetpack-4.6.json").read_bytes())
    return {**hardware, "software": [], "figures": {**hardware["figures"], **system["figures"]}}


def test_the_list_is_complete_and_in_order():
    assert [board.name for board in list_boards()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_that_is_known_has_a_source_that_stands_alone(name):
    board = load_board(name)
    assert board.title
    for key, figure in board.figures.items():
        assert set(figure) == {"value", "source"}, key
        assert (figure["value"] is None) == (figure["source"] is None), key
        # A pointer to our own notes is not enough: the original must be named.
        assert figure["source"] is None or not figure["source"].startswith("facts/"), key


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_gives_back_its_file(name):
    content = (PROFILES / f"{name}.json").read_bytes()
    board = parse_board(content, f"{name}.json")
    assert board.to_dict() == json.loads(content)
    assert content.decode("ascii") == json.dumps(board.to_dict(), indent=2) + "\n"


@pytest.mark.parametrize(
    ("name", "opset", "ir", "tensorrt", "python"),
    [
        ("jetson-nano", 13, 8, "8.2.1", "3.6.9"),
        ("jetson-nano@4.6", 13, 8, "8.2.1", "3.6.9"),
        ("jetson-xavier-nx", 17, 10, "8.5.2", "3.8.10"),
        ("jetson-agx-xavier@4.6", 13, 8, "8.2.1", "3.6.9"),
        ("jetson-agx-orin", 20, 11, "10.3", "3.10"),
        ("jetson-agx-orin@5.1", 17, 10, "8.5.2", "3.8.10"),
        ("jetson-orin-nx@jetpack-6.0", 17, 11, "8.6.2", "3.10"),
        ("jetson-orin-nano@7.2", 20, 13, "10", "3.12"),
        ("jetson-agx-thor", 20, 13, "10.13", "3.12"),
        ("raspberry-pi-5", None, None, None, None),
    ],
)
def test_a_board_has_the_figures_of_the_system_that_runs_on_it(name, opset, ir, tensorrt, python):
    board = load_board(name)
    keys = ("max_opset", "max_ir_version", "tensorrt", "python")
    assert tuple(board.figures[key]["value"] for key in keys) == (opset, ir, tensorrt, python)
    # The system belongs to the name only where it is not the usual one.
    expected = name.replace("jetpack-", "")
    assert board.name == (expected.partition("@")[0] if expected == "jetson-nano@4.6" else expected)
    assert load_board(board.name) == board


def test_a_system_that_the_board_does_not_run_is_refused_with_those_that_it_does():
    for name in ("jetson-nano@5.1", "jetson-nano@", "jetson-nano@../x"):
        with pytest.raises(ConfigError, match=r"jetson-nano@4\.6"):
            load_board(name)
    with pytest.raises(ConfigError, match="none is known"):
        load_board("raspberry-pi-5@12")
    with pytest.raises(ConfigError, match="did you mean 'jetson-nano'"):
        load_board("jetson-nona@4.6")


def test_a_damaged_system_is_refused_by_file_and_key():
    fields = json.loads((PROFILES / "software/jetpack-4.6.json").read_bytes())
    damaged = {**fields, "figures": {**fields["figures"], "max_opset": {"value": "13", "source": "x"}}}
    for content, words in (
        (b"{", "not JSON"),
        (json.dumps({**fields, "schema": "edge-dendrite.board"}).encode(), "schema"),
        (json.dumps(damaged).encode(), "max_opset"),
        (json.dumps({**fields, "figures": {}}).encode(), "missing"),
    ):
        with pytest.raises(EdgeDendriteError, match=f"jetpack-4.6.json: .*{words}"):
            parse_software(content, "jetpack-4.6.json")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("NVIDIA Jetson Nano Developer Kit", "jetson-nano"),
        ("NVIDIA Jetson Xavier NX Developer Kit", "jetson-xavier-nx"),
        ("NVIDIA Jetson AGX Orin Developer Kit", "jetson-agx-orin"),
        ("NVIDIA Jetson Orin Nano Developer Kit", "jetson-orin-nano"),
        ("NVIDIA Jetson AGX Thor Developer Kit", "jetson-agx-thor"),
        ("Raspberry Pi 4 Model B Rev 1.4", "raspberry-pi-4"),
        ("Raspberry Pi 5 Model B Rev 1.0", "raspberry-pi-5"),
        ("Standard PC (Q35 + ICH9, 2009)", None),
        ("", None),
    ],
)
def test_a_model_matches_one_profile_at_most(model, name):
    matching = [board.name for board in list_boards() if any(text in model for text in board.match)]
    assert matching == ([name] if name else [])


def test_the_limits_that_decide_an_export():
    """The oldest runtimes read least; nothing is promised where nothing was looked up."""
    limits = {board.name: board.figures["max_opset"]["value"] for board in list_boards()}
    assert limits["jetson-nano"] == limits["jetson-tx2"] == 13
    assert limits["jetson-xavier-nx"] == limits["jetson-agx-xavier"] == 17
    assert limits["generic-x86"] == 17
    assert limits["raspberry-pi-5"] is None
    assert load_board("jetson-nano").figures["max_ir_version"]["value"] == 8


def test_sparsity_is_known_of_jetsons_only():
    """Orin and Thor have 2:4, older ones have none; of other boards nothing was looked up."""
    patterns = {board.name: board.figures["structured_sparsity"]["value"] for board in list_boards()}
    for name, value in patterns.items():
        if "orin" in name or "thor" in name:
            assert value == ["2:4"]
            require_structured_sparsity(load_board(name), "2:4")
        else:
            assert value == ([] if name.startswith("jetson-") else None)
            with pytest.raises(ConfigError, match=f"board {name}: 2:4"):
                require_structured_sparsity(load_board(name), "2:4")
    with pytest.raises(ConfigError, match="1:4 .* skips 2:4"):
        require_structured_sparsity(load_board("jetson-orin-nano"), "1:4")


@pytest.mark.parametrize("name", NAMES)
def test_a_total_is_made_of_the_boards_own_rails(name):
    figures = load_board(name).figures
    total = figures["total_power_rail"]["value"]
    assert total is None or set(total) <= set(figures["power_rails"]["value"])


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("jetson-") and name != "jetson-agx-thor"])
def test_the_agent_measures_the_total_that_the_profile_names(name, tmp_path):
    """Both were written from the same facts by different hands; they must not drift apart."""
    figures = load_board(name).figures
    for number, label in enumerate(figures["power_rails"]["value"]):
        chip = tmp_path / "sys/class/hwmon" / f"hwmon{number // 3}"
        chip.mkdir(parents=True, exist_ok=True)
        (chip / "name").write_text("ina3221\n")
        channel = number % 3 + 1
        for file, text in (("in%d_label", label), ("in%d_input", "5000"), ("curr%d_input", "100")):
            (chip / (file % channel)).write_text(text)
    meter, problems = power.find_meter(root=str(tmp_path))
    assert problems == []
    assert list(meter.rails) == figures["total_power_rail"]["value"]


@pytest.mark.parametrize(
    ("name", "close"),
    [("jetson-nan", "jetson-nano"), ("Jetson-Nano", "jetson-nano"), ("rasberry-pi-5", "raspberry-pi-5")],
)
def test_an_unknown_name_gets_the_closest_and_all_others(name, close):
    with pytest.raises(ConfigError) as caught:
        load_board(name)
    assert f"did you mean '{close}'?" in str(caught.value)
    assert all(known in str(caught.value) for known in NAMES)


@pytest.mark.parametrize(
    "name", ["", "xyzzy", "../profiles/jetson-nano", "jetson-nano.json", "__init__", "/etc/passwd"]
)
def test_names_that_are_no_board(name):
    with pytest.raises(ConfigError, match="is not known"):
        load_board(name)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"1", b'"text"', b"\xff\xfe", b"[" * 100000, b"{} {}", b"{'a': 1}"]
)
def test_what_is_no_profile_is_refused(content):
    refusal(content)


def test_a_sound_profile_is_accepted(fields):
    whole = parse_board(json.dumps(fields).encode(), "jetson-nano.json")
    assert whole.software == () and whole.figures == load_board("jetson-nano").figures


def test_unknown_keys_are_named(fields):
    assert "'colour'" in refusal({**fields, "colour": "green"})
    assert "'figures.max_opsets'" in refusal({**fields, "figures": {**fields["figures"], "max_opsets": {}}})
    fields["figures"]["cuda"]["note"] = "x"
    assert "'figures.cuda.note'" in refusal(fields)


@pytest.mark.parametrize("key", ["schema", "version", "name", "title", "match", "software", "figures"])
def test_missing_keys_are_named(fields, key):
    del fields[key]
    assert f"'{key}' is missing" in refusal(fields)


def test_missing_figures_are_named(fields):
    for key in list(fields["figures"]):
        changed = {**fields, "figures": {name: one for name, one in fields["figures"].items() if name != key}}
        assert f"'figures.{key}' is missing" in refusal(changed)
        for part in ("value", "source"):
            figure = {name: one for name, one in fields["figures"][key].items() if name != part}
            changed = {**fields, "figures": {**fields["figures"], key: figure}}
            assert f"'figures.{key}.{part}' is missing" in refusal(changed)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("schema", ["", None, "edge-dendrite.bundle"]),
        ("version", [0, 2, "1", True, 1.0, None]),
        ("name", ["jetson-tx2", "", None, []]),
        ("title", ["", " ", None, 1, []]),
        ("match", [None, "Jetson", {}, [1], [""], [None]]),
        ("software", [None, "jetpack-4.6", {}, [1], [""], [None]]),
        ("figures", [None, [], "x", {}]),
    ],
)
def test_wrong_values_are_refused_by_key(fields, key, values):
    for value in values:
        assert key in refusal({**fields, key: value})


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("soc", ["", " ", 1, [], True]),
        ("memory_bytes", [0, -1, 1.5, "4 GB", True, []]),
        ("python", [3.6, "", ["3.6"]]),
        ("max_opset", ["13", 13.0, 0, True, [13]]),
        ("max_ir_version", ["8", False]),
        ("precisions", ["fp32", [1], [""], {}]),
        ("structured_sparsity", ["2:4", True, [2], [None], {}]),
        ("power_rails", ["VDD_IN", [None]]),
        ("total_power_rail", ["VDD_IN", 1]),
    ],
)
def test_wrong_figures_are_refused_by_key(fields, key, values):
    for value in values:
        changed = {**fields["figures"], key: {"value": value, "source": "someone"}}
        assert f"figures.{key}.value" in refusal({**fields, "figures": changed})


@pytest.mark.parametrize(
    ("value", "source"), [("x", None), ("x", ""), ("x", " "), ("x", 1), ("x", []), (None, "someone"), (None, "")]
)
def test_a_figure_and_its_source_come_together(fields, value, source):
    fields["figures"]["soc"] = {"value": value, "source": source}
    assert "figures.soc needs a source" in refusal(fields)


@pytest.mark.parametrize("figure", [None, [], "x", 13])
def test_a_figure_is_an_object(fields, figure):
    fields["figures"]["soc"] = figure
    assert "figures.soc is not an object" in refusal(fields)


def test_changing_a_profile_does_not_change_the_next():
    board = load_board("jetson-nano")
    with pytest.raises(AttributeError):
        board.name = "other"  # type: ignore[misc]
    board.figures["soc"] = {}  # type: ignore[index]
    assert load_board("jetson-nano").figures["soc"]["value"] == "tegra210"
