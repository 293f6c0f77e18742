"""Time stamps as seconds."""

import pytest

from edge_bench.logs.times import seconds_of


@pytest.mark.parametrize(
    "stamp, seconds",
    [
        ("01-01-1970 00:01:00", 60),
        ("05-09-2026 18:42:06", 1778352126),
        ("2026-05-09T18:42:06Z", 1778352126),
        ("2026-05-09 18:42:06.250", 1778352126.25),
        ("2026-05-09 18:42:06,5", 1778352126.5),
        ("2026-05-09T20:42:06+02:00", 1778352126),
        ("2026-05-09T13:12:06-0530", 1778352126),
        ("02-31-2026 00:00:00", None),
        ("13-01-2026 00:00:00", None),
        ("01-01-0000 00:00:00", None),
        ("2026-05-09 25:42:06", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_stamps(stamp, seconds):
    assert seconds_of(stamp) == seconds
