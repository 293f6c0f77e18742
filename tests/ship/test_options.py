"""What is asked of the agent, as its flags, and whether a measurement was made so."""

from __future__ import annotations

from dataclasses import asdict

from edge_dendrite.ship.options import RunOptions


def test_layers_are_a_flag_without_a_value():
    assert "--layers" not in RunOptions().to_arguments()
    assert RunOptions(layers=True).to_arguments()[-1] == "--layers"


def test_a_measurement_with_layers_serves_who_does_not_ask_for_them_and_not_the_other_way():
    with_layers, without = RunOptions(layers=True), RunOptions()
    assert without.match(asdict(with_layers)) and without.match(asdict(without))
    assert with_layers.match(asdict(with_layers)) and not with_layers.match(asdict(without))


def test_a_measurement_of_an_agent_that_knows_no_layers_serves_too():
    settings = asdict(RunOptions())
    del settings["layers"]
    assert RunOptions().match(settings) and not RunOptions(layers=True).match(settings)
