"""Power sensors as files below /sys, laid out as the facts say of each board. Runs under Python 3.6."""

import os


def hwmon(number, rails, chip="ina3221"):
    """An INA3221 as the mainline driver shows it (JetPack 5 and newer): {label: (millivolts, milliamperes)}."""
    folder = "sys/class/hwmon/hwmon%d/" % number
    files = {folder + "name": chip + "\n", folder + "in7_label": "sum of shunt voltages\n", folder + "in7_input": "9\n"}
    for channel, (label, (millivolts, milliamperes)) in enumerate(rails, 1):
        files[folder + "in%d_label" % channel] = label + "\n"
        files[folder + "in%d_input" % channel] = "%d\n" % millivolts
        files[folder + "curr%d_input" % channel] = "%d\n" % milliamperes
    return files


def iio(address, number, rails):
    """An INA3221 as NVIDIA's driver shows it (JetPack 4): {name: milliwatts}."""
    folder = "sys/bus/i2c/drivers/ina3221x/%s/iio:device%d/" % (address, number)
    files = {}
    for channel, (name, milliwatts) in enumerate(rails):
        files[folder + "rail_name_%d" % channel] = name + "\n"
        files[folder + "in_power%d_input" % channel] = "%d\n" % milliwatts
        files[folder + "in_voltage%d_input" % channel] = "5000\n"
        files[folder + "in_current%d_input" % channel] = "%d\n" % (milliwatts / 5)
    return files


def ina238(number, milliwatts):
    """The chip behind an AGX Thor's input: microwatts, no label."""
    folder = "sys/class/hwmon/hwmon%d/" % number
    return {
        folder + "name": "ina238\n",
        folder + "in0_input": "3\n",
        folder + "in1_input": "20000\n",
        folder + "curr1_input": "%d\n" % (milliwatts / 20),
        folder + "power1_input": "%d\n" % (milliwatts * 1000),
    }


def merged(*trees):
    files = {}
    for tree in trees:
        files.update(tree)
    return files


def write_tree(root, files):
    """{path: text} below a folder, which is returned."""
    for name, text in files.items():
        path = os.path.join(str(root), name)
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path))
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)
    return str(root)
