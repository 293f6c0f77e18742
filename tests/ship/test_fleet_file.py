from __future__ import annotations

import pytest

from edge_dendrite.errors import DeployError
from edge_dendrite.ship.fleet_file import read_fleet


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "[" * 9999,
        '{"schema": "edge-dendrite.fleet", "version": 2, "boards": []}',
        '{"schema": "edge-dendrite.fleet", "version": 1, "boards": [{"name": "a"}]}',
        '{"schema": "edge-dendrite.fleet", "version": 1, "boards": [{"name": 1, "target": "", "state": "kept", '
        '"reason": "", "files": [], "duration_s": 0}]}',
        '{"schema": "edge-dendrite.fleet", "version": 1, "boards": [{"name": "a", "target": "-oProxyCommand=x", '
        '"state": "kept", "reason": "", "files": [], "duration_s": 0}]}',
    ],
)
def test_a_strange_fleet_file_is_refused(tmp_path, content):
    (tmp_path / "fleet.json").write_text(content)
    with pytest.raises(DeployError, match="is no fleet.json of this program"):
        read_fleet(tmp_path / "fleet.json")
