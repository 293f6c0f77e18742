"""What a measurement says about one figure: a value, an interval, how it was come by, and what would tell more.

Values are SI. A bound of None is unknown: nothing passes on it. A figure that a run gives only once (a load time, a
peak of memory) is known exactly for that run, and says nothing about another.
"""

import array
import bisect
import math
from typing import Any, Dict, NamedTuple, Optional

from edge_bench import schema, stats
from edge_bench.verdict import records

# Joules of an inference, and watts, that no board has: such a file was not measured.
MAX_ENERGY_J = 1e9
# Bursts of the same work repeat to about 4 % within a session: of an energy without an interval this much is assumed.
ASSUMED_SHARE = 0.05


class Figure(NamedTuple):
    """`missing`: why there is no value; `advice`: what would decide; `basis`: how value and interval were come by."""

    value: Optional[float]
    low: Optional[float]
    high: Optional[float]
    basis: str = ""
    missing: str = ""
    advice: str = ""
    num_samples_needed: Optional[int] = None
    is_assumed: bool = False


def not_measured(reason: str) -> Figure:
    """A figure that is not there."""
    return Figure(None, None, None, missing=reason)


def once(value: Optional[float], missing: str, basis: str = "this run's") -> Figure:
    """A figure that a run gives once."""
    return not_measured(missing) if value is None else Figure(value, value, value, basis)


def latency(record: Dict[str, Any], percent: float, limit_s: float) -> Figure:
    """A percentile of the latency (50: the median) with its interval, and the samples that would decide a limit."""
    samples = records.samples_of(record)
    count = len(samples)
    if not count:
        return not_measured(records.why_missing(record, "latency"))
    fewest = 6 if percent == 50.0 else stats.MIN_SAMPLES[percent]
    ordered = array.array("d", sorted(samples))
    centre = ordered[stats.nearest_rank(count, percent) - 1]
    factor = stats.dependence(bytearray(sample > centre for sample in samples))
    low, high = (ordered[rank - 1] if rank else None for rank in stats.percentile_ranks(count, percent, factor=factor))
    over = (count - bisect.bisect_right(ordered, limit_s)) / float(count)
    needed = _needed(over, 1.0 - percent / 100.0, factor, count, fewest)
    advice = _more_samples(needed, count)
    if count < fewest:
        return Figure(None, low, None, "too few samples", "", advice, needed)
    value = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2.0 if percent == 50.0 else centre
    return Figure(value, low, high, _basis(count, factor), "", advice, needed)


def miss_ratio(record: Dict[str, Any], limit: float, deadline_s: Optional[float]) -> Figure:
    """The share of inferences that missed the deadline: the run's own, or one that is asked for afterwards."""
    part, samples = records.part(record, "latency"), records.samples_of(record)
    own_s = records.number(part, "deadline_s")
    if deadline_s is None:
        deadline_s = own_s
    if deadline_s is None:
        return not_measured("the run had no deadline; give --deadline-ms")
    if not samples:
        return not_measured(records.why_missing(record, "latency"))
    flags = bytearray(sample > deadline_s for sample in samples)
    responses, skipped = part.get("response_samples_s"), part.get("num_skipped") or 0
    if responses:  # with a period it is also late by beginning late, and a release that was skipped has no answer
        flags = bytearray(response > deadline_s for response in responses) + bytearray(b"\1" * skipped)
    num_missed, num_all = sum(flags), len(flags)
    factor = stats.dependence(flags)
    interval = stats.proportion_interval(num_missed, num_all, factor=factor)
    share = num_missed / float(num_all)
    needed = _needed(share, limit, factor, num_all)
    basis = "%d of %d later than %.6g ms" % (num_missed, num_all, 1e3 * deadline_s)
    return Figure(share, interval.low, interval.high, basis, "", _more_samples(needed, num_all), needed)


def throughput(record: Dict[str, Any]) -> Figure:
    """Examples per second, one inference after another: the batch that ran over the mean latency."""
    samples = records.samples_of(record)
    if not samples:
        return not_measured(records.why_missing(record, "latency"))
    batch = records.part(record, "backend").get("batch")
    per_run = batch if type(batch) is int and batch > 0 else 1
    interval = stats.mean_interval(samples)
    value = per_run * len(samples) / math.fsum(samples)
    low, high = None, None  # type: Optional[float], Optional[float]
    if interval is not None and interval.low is not None and interval.high is not None:
        low, high = per_run / interval.high, (per_run / interval.low if interval.low > 0 else None)
    return Figure(value, low, high, "%d samples, batch %d" % (len(samples), per_run), "", "a longer run")


def energy(record: Dict[str, Any], kind: str) -> Figure:
    """Energy per inference in joules, `gross` or `net` of idle, with the run's interval or an assumed one."""
    part = records.part(record, "energy")
    value = records.number(part, kind + "_energy_j")
    gross = records.number(part, "gross_energy_j")
    if value is None or gross is None:
        return not_measured(records.why_missing(record, "energy"))
    low, high = part.get(kind + "_interval_j") or (None, None)
    advice = "a longer energy phase (--energy-s), on a quiet board"
    if gross <= 0:
        return not_measured("the energy in the file is %g J: no board takes that" % gross)
    if max(abs(number) for number in (value, gross, low or 0.0, high or 0.0)) > MAX_ENERGY_J:
        return not_measured("the energy in the file is more than any board takes")
    basis = "%s, %s" % (part.get("scope"), "the run's interval")
    if low is None or high is None or not low <= value <= high:
        # Gross and idle are each off by so much; net is their difference.
        reach = ASSUMED_SHARE * (abs(gross) + abs(gross - value))
        low, high = value - reach, value + reach
        basis = "%s, +-%g %% assumed: the run has no interval" % (part.get("scope"), 100 * ASSUMED_SHARE)
        return Figure(value, low, high, basis, advice=advice, is_assumed=True)
    return Figure(value, low, high, basis, advice=advice)


def power(record: Dict[str, Any]) -> Figure:
    """The mean power under load in watts; relative to it as uncertain as the gross energy."""
    value = records.number(records.part(record, "energy"), "load_power_w")
    gross = energy(record, "gross")
    if value is None or abs(value) > MAX_ENERGY_J or not gross.value or gross.low is None or gross.high is None:
        return not_measured(records.why_missing(record, "energy"))
    return gross._replace(value=value, low=value * gross.low / gross.value, high=value * gross.high / gross.value)


def memory(record: Dict[str, Any]) -> Figure:
    """The peak of the process in bytes."""
    peak = records.number(records.part(record, "memory"), "process_peak_rss_bytes")
    return once(peak, records.why_missing(record, "memory"), "VmHWM of this run")


def temperature(record: Dict[str, Any]) -> Figure:
    """The hottest sensor before or after; without a reading from after the run there is no upper bound."""
    before, after = (records.hottest_c(record.get("state_" + when)) for when in ("before", "after"))
    known = [reading for reading in (before, after) if reading is not None]
    if not known:
        return not_measured(records.why_missing(record, "temperature"))
    hottest = max(known)
    basis = "hottest sensor, before and after the run"
    return Figure(hottest, hottest, None if after is None else hottest, basis, "", "a reading after the run")


def accuracy(record: Dict[str, Any]) -> Figure:
    """The accuracy that the bundle's manifest states, with the interval of so many test samples."""
    known = records.part(record["bundle"], "accuracy")
    value, count = records.number(known, "value"), known.get("num_samples")
    if value is None:
        return not_measured("the bundle states no accuracy: it was exported without test data")
    if known.get("metric") != "accuracy" or not 0.0 <= value <= 1.0:
        return not_measured("the bundle states another figure than an accuracy: %s" % str(known.get("metric"))[:60])
    if type(count) is not int or count < 1:
        return Figure(
            value, None, None, "stated by the bundle", "", "a bundle that says how many samples it was tested on"
        )
    interval = stats.proportion_interval(value * count, count)
    basis = "%d test samples, stated by the bundle" % count
    return Figure(value, interval.low, interval.high, basis, "", "more test data at the export")


def _basis(count: int, factor: float) -> str:
    if factor < 1.5:
        return "%d samples" % count
    return "%d samples that tell as much as %d independent ones" % (count, int(count / factor))


def _needed(share: float, limit: float, factor: float, count: int, fewest: int = 1) -> Optional[int]:
    """The samples that would decide, more than there are; an estimate, so rounded up to two digits."""
    needed = stats.samples_to_decide(share, limit, factor, schema.MAX_SAMPLES, fewest)
    if needed is None or needed == fewest > count:
        return needed
    needed = max(needed, count + 1)
    unit = 10 ** max(0, len(str(needed)) - 2)
    return -(-needed // unit) * unit


def _more_samples(needed: Optional[int], count: int) -> str:
    if needed is None:
        return "it is too close to the limit for any number of samples"
    return "about %d samples would decide (this run has %d)" % (needed, count)
