"""Folders that look like the /proc, /sys and /etc of real boards, as {path: text}, for Python 3.6 too.

Laid out after the kernel's documentation (cpufreq, thermal, hwmon, ina3221), NVIDIA's device trees and public logs of
such boards: names of GPU folders and of soctherm_oc's counters, rails, temperatures as in lines of tegrastats, of
which none was taken on these very boards at one time. Not from the code that reads them.
"""


def cpus(count, governor, low_khz, high_khz, now_khz):
    files = {"sys/devices/system/cpu/online": "0-%d\n" % (count - 1), "sys/devices/system/cpu/cpufreq/boost": "0\n"}
    for number in range(count):
        folder = "sys/devices/system/cpu/cpu%d/cpufreq/" % number
        files[folder + "scaling_governor"] = governor + "\n"
        files[folder + "scaling_min_freq"] = "%d\n" % low_khz
        files[folder + "scaling_max_freq"] = "%d\n" % high_khz
        files[folder + "scaling_cur_freq"] = "%d\n" % now_khz
        files[folder + "cpuinfo_max_freq"] = "%d\n" % high_khz
        files[folder + "scaling_available_governors"] = "interactive conservative ondemand userspace performance\n"
    return files


def zones(*pairs, **options):
    files = {}
    for number, (name, millidegrees) in enumerate(pairs):
        folder = "sys/class/thermal/thermal_zone%d/" % number
        files[folder + "type"] = name + "\n"
        files[folder + "temp"] = "%s\n" % millidegrees
        files[folder + "mode"] = "enabled\n"
        for trip, (kind, at) in enumerate(options.get("trips", {}).get(name, ())):
            files[folder + "trip_point_%d_type" % trip] = kind + "\n"
            files[folder + "trip_point_%d_temp" % trip] = "%d\n" % at
            files[folder + "trip_point_%d_hyst" % trip] = "0\n"
    return files


def cooling(*pairs):
    files = {}
    for number, (name, state) in enumerate(pairs):
        files["sys/class/thermal/cooling_device%d/type" % number] = name + "\n"
        files["sys/class/thermal/cooling_device%d/cur_state" % number] = "%d\n" % state
        files["sys/class/thermal/cooling_device%d/max_state" % number] = "10\n"
    return files


def gpu(folder, low, high, now, load=None):
    files = {
        folder + "/governor": "nvhost_podgov\n",
        folder + "/min_freq": "%d\n" % low,
        folder + "/max_freq": "%d\n" % high,
        folder + "/cur_freq": "%d\n" % now,
        folder + "/available_frequencies": "%d %d\n" % (low, high),
    }
    if load is not None:
        files[folder + "/device/load"] = "%d\n" % load
    return files


def hwmon(number, name, **files):
    folder = "sys/class/hwmon/hwmon%d/" % number
    return dict({folder + "name": name + "\n"}, **{folder + key: "%s\n" % value for key, value in files.items()})


def proc(cores, total_kb, available_kb, swap_total_kb=0, swap_free_kb=0):
    lines = ["cpu  %d %d %d %d 50 6 7 8 9 10" % (100 * cores, 20 * cores, 30 * cores, 4000 * cores)]
    lines += ["cpu%d 100 20 30 4000 12 1 1 2 2 2" % number for number in range(cores)]
    return {
        "proc/stat": "\n".join(lines + ["intr 1", "ctxt 5", "btime 1700000000"]) + "\n",
        "proc/loadavg": "0.20 0.18 0.12 1/80 11206\n",
        "proc/meminfo": "MemTotal:       %8d kB\nMemFree:          100 kB\nMemAvailable:   %8d kB\n"
        "SwapCached:            0 kB\nSwapTotal:      %8d kB\nSwapFree:       %8d kB\nHugePages_Total:       0\n"
        % (total_kb, available_kb, swap_total_kb, swap_free_kb),
        "proc/self/status": "Name:\tpython3\nVmPeak:\t  99 kB\nVmHWM:\t   60000 kB\nVmRSS:\t   50000 kB\n",
    }


def merged(*parts):
    files = {}
    for part in parts:
        files.update(part)
    return files


NVPMODEL_CONF = """# a comment
< PARAM TYPE=FILE NAME=CPU_ONLINE >
CORE_0 /sys/devices/system/cpu/cpu0/online
< POWER_MODEL ID=0 NAME=MAXN >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=5W >
CPU_ONLINE CORE_2 0
< PM_CONFIG DEFAULT=0 >
"""

NANO = merged(
    proc(4, 4059268, 2949120, 2029628, 2029628),
    cpus(4, "schedutil", 102000, 1479000, 1479000),
    gpu("sys/devices/57000000.gpu/devfreq/57000000.gpu", 76800000, 921600000, 76800000, load=350),
    zones(
        ("AO-therm", 41500),
        ("CPU-therm", 36500),
        ("GPU-therm", 35000),
        ("PLL-therm", 34500),
        ("PMIC-Die", 100000),
        ("thermal-fan-est", 35900),
        trips={"CPU-therm": (("active", 51000), ("passive", 97000), ("critical", 102500))},
    ),
    cooling(("tegra-heavy", 0), ("pwm-fan", 3), ("gpu-balanced", 0), ("cpu-balanced", 0)),
    {
        "proc/device-tree/model": b"NVIDIA Jetson Nano Developer Kit\0",
        "proc/device-tree/compatible": b"nvidia,p3450-0000\0nvidia,jetson-nano\0nvidia,tegra210\0",
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: ARMv8 Processor rev 1 (v8l)\nBogoMIPS\t: 38.40\n",
        "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 18.04.6 LTS"\n',
        "etc/nv_tegra_release": "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref, EABI: aarch64\n",
        "etc/nvpmodel.conf": NVPMODEL_CONF,
        "var/lib/nvpmodel/status": "pmode:0000",
        "sys/devices/pwm-fan/cur_pwm": "80\n",
        "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0": "POM_5V_IN\n",
        "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": "2100\n",
        "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_voltage0_input": "5040\n",
        "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_current0_input": "416\n",
    },
)

XAVIER_NX = merged(
    proc(6, 7950000, 5900000, 3900000, 3900000),
    cpus(6, "schedutil", 115200, 1420800, 1190400),
    gpu("sys/class/devfreq/17000000.gv11b", 114750000, 1109250000, 114750000, load=0),
    zones(("CPU-therm", 41000), ("GPU-therm", -256000), ("AUX-therm", 40000), ("AO-therm", 41500), ("PMIC-Die", 50000)),
    cooling(("cpufreq-cpu0", 0), ("pwm-fan", 1), ("devfreq-17000000.gv11b", 0)),
    hwmon(4, "ina3221", in1_label="VDD_IN", in1_input=4960, curr1_input=864, curr1_max_alarm=0, curr1_crit_alarm=0),
    hwmon(2, "soctherm_oc", oc1_event_cnt=0, oc2_event_cnt=0, oc3_event_cnt=0, oc3_throt_en=1),
    {
        "proc/device-tree/model": b"NVIDIA Jetson Xavier NX Developer Kit\0",
        "proc/device-tree/compatible": b"nvidia,p3449-0000+p3668-0000\0nvidia,p3668-0000\0nvidia,tegra194\0",
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: ARMv8 Processor rev 0 (v8l)\n",
        "etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64\n",
        "var/lib/nvpmodel/status": "pmode:0008",
    },
)

ORIN_NX = merged(
    proc(8, 15900000, 12900000, 7900000, 7880000),
    cpus(8, "performance", 1984000, 1984000, 1984000),
    gpu("sys/class/devfreq/17000000.gpu", 918000000, 918000000, 918000000, load=998),
    zones(
        ("cpu-thermal", 61968),
        ("gpu-thermal", 60125),
        ("cv0-thermal", -256000),
        ("soc0-thermal", 59000),
        ("tj-thermal", 61968),
        trips={"tj-thermal": (("passive", 95000), ("critical", 104500), ("active", 50000))},
    ),
    cooling(("cpufreq-cpu0", 0), ("pwm-fan", 2), ("devfreq-17000000.gpu", 0)),
    hwmon(
        1,
        "ina3221",
        in1_label="VDD_IN",
        in1_input=19900,
        curr1_input=520,
        curr1_max=5000,
        curr1_max_alarm=0,
        curr1_crit_alarm=0,
        in2_label="VDD_CPU_GPU_CV",
        in2_input=19880,
        curr2_input=200,
        curr2_max_alarm=0,
        in7_label="sum of shunt voltages",
    ),
    hwmon(0, "soctherm_oc", oc1_event_cnt=0, oc2_event_cnt=3, oc3_event_cnt=27390, oc3_throt_en=1),
    hwmon(2, "pwmfan", pwm1=120, oc1_event_cnt=999),
    hwmon(3, "pwm_tach", rpm=2310),
    {
        "proc/device-tree/model": b"NVIDIA Jetson Orin NX Engineering Reference Developer Kit\0",
        "proc/device-tree/compatible": b"nvidia,p3768-0000+p3767-0000\0nvidia,p3767-0000\0nvidia,tegra234\0",
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: ARMv8 Processor rev 1 (v8l)\n",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, EABI: aarch64\n",
        "var/lib/nvpmodel/status": "pmode:0000",
    },
)

THOR = merged(
    proc(14, 128790528, 107000000),
    cpus(14, "schedutil", 54000, 2601000, 972000),
    gpu("sys/class/devfreq/gpu-gpc-0", 315000000, 1575000000, 315000000),
    gpu("sys/class/devfreq/gpu-nvd-0", 315000000, 1692000000, 315000000),
    zones(("cpu-thermal", 37343), ("tj-thermal", 38875), ("soc012-thermal", 37468), ("soc345-thermal", 37406)),
    hwmon(0, "ina3221", in1_label="VDD_GPU", in1_input=11000, curr1_input=178),
    hwmon(1, "ina238", in0_input=210, in1_input=20000, curr1_input=989, power1_input=19780000),
    hwmon(5, "soctherm_oc", oc1_event_cnt=0, oc2_event_cnt=0, oc3_event_cnt=0),
    {
        "proc/device-tree/model": b"NVIDIA Jetson AGX Thor Developer Kit\0",
        "proc/device-tree/compatible": b"nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0",
        "etc/nv_tegra_release": "# R38 (release), REVISION: 4.0, GCID: 43443517, BOARD: generic, EABI: aarch64\n",
    },
)

PI4 = merged(
    proc(4, 3884432, 3400000, 102396, 102396),
    cpus(4, "ondemand", 600000, 1800000, 600000),
    zones(("cpu-thermal", 48205), trips={"cpu-thermal": (("critical", 110000),)}),
    {
        "proc/device-tree/model": b"Raspberry Pi 4 Model B Rev 1.4\0",
        "proc/device-tree/compatible": b"raspberrypi,4-model-b\0brcm,bcm2711\0",
        "proc/cpuinfo": "processor : 0\nCPU part\t: 0xd08\n\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n",
    },
)

PI5 = merged(
    proc(4, 8245000, 7400000, 204784, 204784),
    cpus(4, "performance", 1500000, 2400000, 2400000),
    zones(("cpu-thermal", 55650), trips={"cpu-thermal": (("critical", 110000), ("active", 50000), ("active", 60000))}),
    cooling(("pwm-fan", 1)),
    hwmon(0, "cpu_thermal", temp1_input=55650),
    hwmon(2, "pwmfan", pwm1=75, fan1_input=2870),
    {
        "proc/device-tree/model": b"Raspberry Pi 5 Model B Rev 1.0\0",
        "proc/device-tree/compatible": b"raspberrypi,5-model-b\0brcm,bcm2712\0",
    },
)

X86 = merged(
    proc(8, 32700000, 30000000, 2000000, 2000000),
    cpus(8, "powersave", 400000, 4700000, 1300000),
    zones(("acpitz", 27800), ("x86_pkg_temp", 45000)),
    cooling(("Processor", 0), ("Processor", 0), ("intel_powerclamp", -1), ("Fan", 1)),
    {"sys/devices/system/cpu/cpu%d/thermal_throttle/core_throttle_count" % number: "7\n" for number in range(8)},
    hwmon(0, "coretemp", temp1_label="Package id 0", temp1_input=45000, temp2_label="Core 0", temp2_input=44000),
    {
        "sys/class/dmi/id/product_name": "OptiPlex 7090\n",
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) Core(TM) i7-10700 CPU\nflags\t\t: fpu vme avx2\n",
        "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    },
)

CONTAINER = merged(
    proc(2, 25000000, 22000000),
    {
        "sys/devices/system/cpu/online": "0-1\n",
        ".dockerenv": "",
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu hypervisor avx2\n",
        "proc/1/cgroup": "0::/\n",
    },
)

BOARDS = {
    "nano": NANO,
    "xavier-nx": XAVIER_NX,
    "orin-nx": ORIN_NX,
    "thor": THOR,
    "pi4": PI4,
    "pi5": PI5,
    "x86": X86,
    "container": CONTAINER,
}
