"""Stand-ins for what measures power on a board: a sensor behind files of /sys, and NVIDIA's tegrastats.

    fake_power.py sensor SPEC.json               writes the files of a chip as its conversions come, and logs each
    fake_power.py tegrastats SPEC.json ARGS      prints lines as the recorded ones, with the power of a curve

Both follow a curve of power over the monotonic clock, which is one for all processes. Runs under Python 3.6.
"""

import json
import os
import random
import sys
import time


class Curve:
    """Power through (seconds, watts) points by straight lines, again and again; two points at one time are a step."""

    def __init__(self, points):
        self.points = points
        self.period_s = points[-1][0]

    def power(self, time_s):
        phase = time_s % self.period_s
        for (begin_s, begin_w), (end_s, end_w) in zip(self.points, self.points[1:]):
            if begin_s <= phase < end_s:
                return begin_w + (end_w - begin_w) * (phase - begin_s) / (end_s - begin_s)
        return self.points[-1][1]

    def energy(self, begin_s, end_s):
        """Joules between two times, exactly."""
        return self._since_zero(end_s) - self._since_zero(begin_s)

    def _since_zero(self, time_s):
        periods, phase = divmod(time_s, self.period_s)
        whole = part = 0.0
        for (begin_s, begin_w), (end_s, end_w) in zip(self.points, self.points[1:]):
            whole += (end_s - begin_s) * (begin_w + end_w) / 2.0
            if phase > begin_s and end_s > begin_s:
                length_s = min(phase, end_s) - begin_s
                slope = (end_w - begin_w) / (end_s - begin_s)
                part += length_s * (begin_w + slope * length_s / 2.0)
        return periods * whole + part


def held_energy(log, begin_s, end_s):
    """Joules of a sensor whose files held the watts of (moment, watts) entries until the next one."""
    energy_j = 0.0
    for (moment_s, watts), (next_s, _watts) in zip(log, log[1:]):
        energy_j += watts * max(0.0, min(next_s, end_s) - max(moment_s, begin_s))
    return energy_j


def read_log(path):
    with open(path, encoding="utf-8") as stream:
        return [tuple(map(float, line.split())) for line in stream if line.endswith("\n")]


def sensor(spec):
    """Convert, write, log; every `period_s`, more or less."""
    curve, chance = Curve(spec["points"]), random.Random(spec.get("seed", 1))
    files = {rail["amperes"]: os.open(rail["amperes"], os.O_WRONLY) for rail in spec["rails"]}
    end_s = time.monotonic() + spec["seconds"]
    count = 0
    with open(spec["log"], "w", encoding="utf-8", buffering=1) as log:
        while time.monotonic() < end_s and os.getppid() != 1:
            watts = 0.0
            for rail in spec["rails"]:
                power_w = curve.power(time.monotonic() * spec.get("speed", 1.0)) * rail["share"]
                # A chip of 13 bits: whole steps of 8 mA at a shunt of 5 milliohms.
                milliamperes = 8 * round(1e3 * power_w / rail["volts"] / 8)
                # One write of constant length: a reader sees the old or the new value, as of a driver.
                os.pwrite(files[rail["amperes"]], b"%9d\n" % milliamperes, 0)
                watts += milliamperes * rail["volts"] / 1e3
            log.write("%.6f %.6f\n" % (time.monotonic(), watts))
            count += 1
            time.sleep(spec["period_s"] * (1.0 + spec.get("jitter", 0.0) * chance.uniform(-1, 1)))


# Recorded lines (tegrastats-corpus.jsonl), with %s where the power of the total stands.
NANO = (
    "RAM 1923/3964MB (lfb 2x2MB) SWAP 191/1982MB (cached 6MB) IRAM 0/252kB(lfb 252kB) "
    "CPU [5%@1224,4%@1224,3%@1224,6%@1224] EMC_FREQ 0%@1600 GR3D_FREQ 0%@76 APE 25 PLL@37C CPU@40C PMIC@50C GPU@40C "
    "AO@45C thermal@40C POM_5V_IN {0}/{0mean} POM_5V_GPU 0/0 POM_5V_CPU 366/406"
)
AGX_ORIN = (
    "05-09-2026 18:42:06 RAM 18207/62841MB (lfb 466x4MB) SWAP 86/31420MB (cached 0MB) CPU [14%@2188,5%@2112,off,off] "
    "EMC_FREQ 3%@2133 GR3D_FREQ 0%@[0,0] NVENC 79%@166 NVDEC off NVJPG off VIC 36%@115 OFA off PVA0_FREQ off APE 174 "
    "cpu@52.562C soc2@48.437C soc0@49.093C tj@52.562C soc1@49.656C VDD_GPU_SOC {0}mW/{0mean}mW "
    "VDD_CPU_CV {1}mW/{1mean}mW VIN_SYS_5V0 {2}mW/{2mean}mW NC 0mW/0mW VDDQ_VDD2_1V8AO 301mW/301mW NC 0mW/0mW"
)
THOR_39 = (
    "08-08-2026 20:58:23 RAM 3429/125749MB (lfb 120x4MB) CPU [0%,5%,off]@2601 EMC_FREQ @4266 "
    "GR3D_FREQ @[1574,1574,1574] cpu@49.75C/49.75C tj@51.218C/51.218C gpu@51.218C/51.218C "
    "VDD_GPU 6330mW/6330mW/6330mW VIN {0}mW/{0mean}mW/99999mW"
)
LINES = {"nano": (NANO, (1.0,)), "agx-orin": (AGX_ORIN, (0.4, 0.25, 0.35)), "thor": (THOR_39, (1.0,))}


def tegrastats(spec, arguments):
    """Lines every --interval milliseconds. `speed`: how much faster than the clock on the wall all this happens."""
    speed = spec.get("speed", 1.0)
    interval_s = int(arguments[arguments.index("--interval") + 1]) / 1e3 / speed
    curve, chance = Curve(spec["points"]), random.Random(os.getpid())
    template, shares = LINES[spec["board"]]
    starts = _count_start(spec)
    sums = [0.0] * len(shares)
    print(spec.get("greeting", ""), flush=True)
    number = 0
    while True:
        time.sleep(interval_s * (1.0 + spec.get("jitter", 0.0) * chance.uniform(-1, 1)))
        number += 1
        watts = [share * curve.power(time.monotonic() * speed) for share in shares]
        figures = [40 * round(1e3 * watt / 40) for watt in watts]
        sums = [total + figure for total, figure in zip(sums, figures)]
        # The first line of some releases counts a zero before itself.
        divisor = number + (1 if spec.get("zero_first") else 0)
        line = template
        for rail, (figure, total) in enumerate(zip(figures, sums)):
            line = line.replace("{%d}" % rail, "%d" % figure)
            line = line.replace("{%dmean}" % rail, "%d" % (total // divisor))
        if spec.get("drop_every") and number % spec["drop_every"] == 0:
            continue
        print(line, flush=True)
        if spec.get("garbage_every") and number % spec["garbage_every"] == 0:
            print("NVRM: \x00\ufffd RAM %s" % ("x" * 3000), flush=True)
        if number == spec.get("die_after") and starts <= spec.get("die_times", 1):
            os.kill(os.getpid(), 9)
        if number == spec.get("hang_after"):
            time.sleep(600)


def _count_start(spec):
    if "starts" not in spec:
        return 1
    with open(spec["starts"], "a", encoding="utf-8") as stream:
        stream.write("%d\n" % os.getpid())
    with open(spec["starts"], encoding="utf-8") as stream:
        return len(stream.readlines())


def main():
    with open(sys.argv[2], encoding="utf-8") as stream:
        spec = json.load(stream)
    if sys.argv[1] == "sensor":
        sensor(spec)
    else:
        tegrastats(spec, sys.argv[3:])


if __name__ == "__main__":
    main()
