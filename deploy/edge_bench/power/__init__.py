"""Power sensors and energy over a window.

`meter.py` finds the best source; each source is a file of its own (`ina3221.py`, `ina238.py`, `tegrastats.py`,
`jtop.py`, `hwmon.py`, `power_supply.py`, `raspberry.py`, `rapl.py`, `command.py`). A source gives a `Meter`
(`window.py`) whose windows are fed by polling (`polled.py`) or by the lines of a program (`lines.py`). `curve.py`
integrates, `result.py` says what a window saw, `energy.py` with `uncertainty.py` makes it energy per inference.
"""
