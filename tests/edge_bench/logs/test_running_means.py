"""Lost lines and restarts, found in logs of a writer that counts as tegrastats does."""

import random

import pytest

from edge_bench.logs.running_means import Break, RunningMeans
from edge_bench.logs.tegrastats import parse_line

# VDD_IN and VDD_SYS_CPU of the first lines that a TX2 wrote (ssaraff98/tegrastats_parser, sample_log.txt).
RECORDED = """
1840/1840 306/306, 1610/1725 230/268, 1572/1674 230/255, 1610/1658 230/249, 1495/1625 230/245, 4061/2031 1149/395,
5056/2463 1761/590, 4673/2739 1455/698, 4634/2950 1455/782, 4826/3137 1608/865, 4673/3277 1532/926, 6202/3521 2449/1052,
5132/3644 1532/1089, 4711/3721 1455/1115, 4519/3774 1225/1123, 4519/3820 1149/1124, 4519/3861 1149/1126,
4596/3902 1225/1131, 4061/3911 843/1116, 4481/3939 1072/1114, 3946/3939 766/1097, 4443/3962 1072/1096
"""


def recorded():
    pairs = [pair.split() for pair in RECORDED.split(",")]
    return ["RAM 896/7859MB VDD_IN %s VDD_SYS_CPU %s" % tuple(pair) for pair in pairs]


def breaks_of(lines):
    means, found = RunningMeans(), []
    for number, line in enumerate(lines, 1):
        one = means.add(parse_line(line)["power_w"], number)
        if one is not None:
            found.append((one.kind, one.line_number))
    return found


def rails(rng, base):
    return [("VDD_IN", base + rng.randint(-400, 400)), ("VDD_SOC", 1200 + rng.randint(-40, 40))]


def test_a_recorded_log_is_unbroken_from_wherever_it_begins():
    lines = recorded()
    assert len(lines) == 22
    for begin in range(len(lines)):
        assert breaks_of(lines[begin:]) == []


@pytest.mark.parametrize("begin, end", [(5, 8), (8, 9), (9, 12), (12, 18)])
def test_lines_that_are_taken_out_of_a_recorded_log_are_missed(begin, end):
    lines = recorded()
    assert breaks_of(lines[:begin] + lines[end:]) == [(Break.LOST, begin + 1)]


def test_a_recorded_log_behind_itself_is_a_restart():
    lines = recorded()
    assert breaks_of(lines + lines) == [(Break.RESTART, 23)]


@pytest.mark.parametrize("seed", range(8))
def test_an_unbroken_log_has_no_breaks(tegrastats, seed):
    rng = random.Random(seed)
    lines = [tegrastats.line(rails(rng, rng.choice([3000, 9000]))) for _ in range(1500)]
    assert breaks_of(lines) == []
    assert breaks_of(lines[rng.randrange(1, 1000) :]) == []  # nor has one that begins later


def test_constant_power_shows_nothing_and_hides_nothing(tegrastats):
    lines = [tegrastats.line([("VDD_IN", 5000)]) for _ in range(50)]
    lines += [tegrastats.line([("VDD_IN", 8000)]) for _ in range(50)]
    assert breaks_of(lines) == []
    assert breaks_of(lines[:60] + lines[70:]) == [(Break.LOST, 61)]


@pytest.mark.parametrize("seed", range(8))
def test_lost_lines_of_another_load_are_found_where_they_are_missing(tegrastats, seed):
    rng = random.Random(seed)
    lines = [tegrastats.line(rails(rng, 3000)) for _ in range(300)]
    lost = [tegrastats.line(rails(rng, 12000)) for _ in range(rng.randint(2, 40))]
    lines += [tegrastats.line(rails(rng, 3000)) for _ in range(300)]
    assert lost and breaks_of(lines) == [(Break.LOST, 301)]


@pytest.mark.parametrize("seed", range(8))
def test_a_restart_is_found_at_its_first_line(tegrastats, seed):
    rng = random.Random(seed)
    lines = [tegrastats.line(rails(rng, 6000)) for _ in range(400)]
    tegrastats.start()
    lines += [tegrastats.line(rails(rng, 6000)) for _ in range(400)]
    assert breaks_of(lines) == [(Break.RESTART, 401)]


def test_a_restart_at_the_very_power_of_the_mean_is_found_once_the_power_moves(tegrastats):
    lines = [tegrastats.line([("VDD_IN", 5000)]) for _ in range(100)]
    tegrastats.start()
    lines += [tegrastats.line([("VDD_IN", 5000)]), tegrastats.line([("VDD_IN", 9000)])]
    lines += [tegrastats.line([("VDD_IN", 7000)]) for _ in range(20)]
    ((kind, line_number),) = breaks_of(lines)
    assert 101 <= line_number <= 102 and kind in (Break.RESTART, Break.LOST)


def test_two_thousand_lines_with_losses_and_a_restart(tegrastats):
    rng = random.Random(3)
    lines = [tegrastats.line(rails(rng, 4000)) for _ in range(500)]
    for _ in range(30):
        tegrastats.line(rails(rng, 14000))
    lines += [tegrastats.line(rails(rng, 4000)) for _ in range(500)]
    tegrastats.start()
    lines += [tegrastats.line(rails(rng, 8000)) for _ in range(500)]
    for _ in range(30):
        tegrastats.line(rails(rng, 2000))
    lines += [tegrastats.line(rails(rng, 8000)) for _ in range(500)]
    assert breaks_of(lines) == [(Break.LOST, 501), (Break.RESTART, 1001), (Break.LOST, 1501)]


def test_a_first_sample_that_entered_the_mean_as_zero_is_no_loss(line_of):
    """AGX Thor: the mean of VIN is half of its figure in the second line."""
    line = line_of("RAM 36529/125749MB")
    following = line.replace("87426mW/43713mW/87426mW", "87426mW/58284mW/87426mW")
    assert breaks_of([line, following]) == []


def test_lines_without_rails_or_with_other_rails_say_nothing(tegrastats, line_of):
    lines = [tegrastats.line([("VDD_IN", 5000)]) for _ in range(20)]
    assert breaks_of([line_of("RAM 1889/1980MB"), line_of("RAM 721/31927MB")] + lines) == []
