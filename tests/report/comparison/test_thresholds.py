import pytest

from edge_dendrite.errors import ConfigError
from edge_dendrite.report.comparison.thresholds import KINDS, Thresholds, read_thresholds

BY_KEY = {kind.key: kind for kind in KINDS}


def test_one_for_all_and_one_for_each():
    found = Thresholds.from_dict(
        {"max_regression": "5%", "max_latency_regression": " -10 % ", "max_accuracy_drop": 0.5}
    )
    assert found.of(BY_KEY["p99"]) == pytest.approx(0.05)
    assert found.of(BY_KEY["latency"]) == pytest.approx(-0.1)
    assert found.of(BY_KEY["accuracy"]) == pytest.approx(0.005)
    assert found.of(BY_KEY["net_energy"]) is None
    # None at all is another thing than nothing allowed.
    assert Thresholds.from_dict({"max_size_regression": "0%"})
    assert not Thresholds()
    assert found.to_dict() == {
        "max_regression": pytest.approx(0.05),
        "max_latency_regression": pytest.approx(-0.1),
        "max_accuracy_drop": pytest.approx(0.005),
    }


@pytest.mark.parametrize(
    "values",
    [
        {"max_regression": 0.05},
        {"max_regression": "0.05"},
        {"max_regression": "5 percent"},
        {"max_regression": "nan%"},
        {"max_regression": "-100%"},
        {"max_regression": "1" * 400 + "%"},
        {"max_regression": None},
        {"max_regression": ["5%"]},
        {"max_accuracy_drop": "0.5%"},
        {"max_accuracy_drop": True},
        {"max_accuracy_drop": 101},
        {"max_accuracy_drop": float("nan")},
        {"max_accuracy_drop": 10**400},
        {"max_speed_regression": "5%"},
        {"": "5%"},
        {"\x1b[2J": "5%"},
    ],
)
def test_what_is_no_threshold_is_refused_with_its_name(values):
    with pytest.raises(ConfigError, match="t.toml") as caught:
        Thresholds.from_dict(values, "t.toml")
    assert len(str(caught.value)) < 500
    assert "\x1b" not in str(caught.value)


def test_files(tmp_path):
    (tmp_path / "t.toml").write_text('max_regression = "5%"\nmax_accuracy_drop = 1\n')
    (tmp_path / "t.json").write_text('{"max_regression": "5%", "max_accuracy_drop": 1}')
    assert read_thresholds(tmp_path / "t.toml") == read_thresholds(tmp_path / "t.json")


@pytest.mark.parametrize(
    "name, content",
    [
        ("t.txt", b""),
        ("t.toml", b"\xff"),
        ("t.toml", b"max_regression = "),
        ("t.json", b"[]"),
        ("t.json", b'{"a": NaN}'),
        ("t.json", b"[" * 100_000),
        ("t.toml", b"a=" + b"[" * 100_000),
        ("t.json", b'"' + b"x" * (1 << 20) + b'"'),
        ("t.json", b'{"a": "5%", "a": "6%"}'),
    ],
)
def test_files_that_hold_none(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=name):
        read_thresholds(tmp_path / name)
    with pytest.raises(ConfigError, match="absent"):
        read_thresholds(tmp_path / "absent.toml")
