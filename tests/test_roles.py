"""Which roles a user can give."""

from __future__ import annotations

import pytest

from edge_dendrite.errors import ConfigError
from edge_dendrite.roles import CONTROLS, check_role


@pytest.mark.parametrize(
    "role", ["baseline", "compressed", *CONTROLS, "control:my own", "peer:SlimNet 2", "peer:\u4f60"]
)
def test_roles_of_a_report(role):
    assert check_role(role) == role


@pytest.mark.parametrize(
    "role",
    [
        "",
        "peer",
        "peer:",
        "peer: ",
        "peer: x",
        "peer:a\x1b[31m",
        "peer:a\nb",
        "peer:" + "x" * 61,
        "Baseline",
        "as given",
    ],
)
def test_anything_else_is_refused_in_words(role):
    with pytest.raises(
        ConfigError, match=r"--role .* is no role of a network; give baseline, compressed, control:NAME"
    ):
        check_role(role)
