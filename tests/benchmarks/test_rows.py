"""Rows are appended, never lost, never there twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from scripts.benchmarks.rows import append_row, key_of, pack_bits, read_rows, unpack_bits


def row(seed, arm="dense", **values):
    return {"study": "s", "kind": "trained", "arm": arm, "budget": None, "seed": seed, **values}


def keys(path):
    return [key_of(one) for one in read_rows(path)]


def test_rows_come_back_in_order(tmp_path):
    path = tmp_path / "new" / "rows.jsonl"
    assert read_rows(path) == []
    assert append_row(path, row(0, value=0.1))
    assert append_row(path, row(1, value=0.2))
    assert [(one["seed"], one["value"]) for one in read_rows(path)] == [(0, 0.1), (1, 0.2)]
    assert all(one["schema"] == "edge-dendrite.benchmark-row" and one["version"] == 1 for one in read_rows(path))


def test_a_row_that_is_there_is_not_made_again(tmp_path):
    path = tmp_path / "rows.jsonl"
    append_row(path, row(0, value=1))
    before = path.read_bytes()
    assert not append_row(path, row(0, value=2))
    assert path.read_bytes() == before


def test_a_row_cut_at_any_byte_costs_that_row_alone(tmp_path):
    path = tmp_path / "rows.jsonl"
    append_row(path, row(0))
    append_row(path, row(1))
    whole = path.read_bytes()
    start = whole.index(b"\n") + 1
    for cut in range(start, len(whole)):
        path.write_bytes(whole[:cut])
        # All but its newline is a whole row; anything less is none.
        expected = [key_of(row(0)), *([key_of(row(1))] if cut == len(whole) - 1 else [])]
        assert keys(path) == expected
        assert append_row(path, row(2))
        assert keys(path) == [*expected, key_of(row(2))]
        assert path.read_bytes().startswith(whole[:start])
    # The row that was cut can then be made again.
    assert append_row(path, row(3))


def test_a_damaged_line_in_the_middle_is_named_and_nothing_is_written(tmp_path):
    path = tmp_path / "rows.jsonl"
    for seed in range(3):
        append_row(path, row(seed))
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = lines[0] + lines[1][:20] + b"\n" + lines[2]
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"rows\.jsonl:2: is damaged"):
        append_row(path, row(5))
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("change", [{"version": 2}, {"schema": "other"}])
def test_rows_of_another_kind_are_refused(tmp_path, change):
    path = tmp_path / "rows.jsonl"
    append_row(path, row(0))
    text = path.read_text()
    for key, value in change.items():
        old = '"version": 1' if key == "version" else '"schema": "edge-dendrite.benchmark-row"'
        text = text.replace(old, f'"{key}": {value if key == "version" else chr(34) + value + chr(34)}')
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a row of"):
        read_rows(path)


def test_a_line_that_is_there_twice_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    append_row(path, row(0))
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(ValueError, match=r"rows\.jsonl:2: .* is there twice"):
        read_rows(path)


def test_writers_at_once_lose_nothing_and_double_nothing(tmp_path):
    path = tmp_path / "rows.jsonl"
    wanted = [row(seed, arm=arm) for seed in range(10) for arm in ("a", "b")]
    with ThreadPoolExecutor(4) as pool:
        written = sum(pool.map(lambda one: append_row(path, one), wanted * 3))
    assert written == len(wanted)
    assert sorted(keys(path)) == sorted(key_of(one) for one in wanted)


@pytest.mark.parametrize("num_samples", [1, 7, 8, 9, 359])
def test_bits_come_back(num_samples):
    bits = np.random.default_rng(num_samples).random(num_samples) < 0.9
    packed = pack_bits(bits)
    assert unpack_bits(packed).tolist() == bits.tolist()
    assert packed["num_samples"] == num_samples
