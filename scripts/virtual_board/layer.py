"""What makes the common system this board: files, /sys and /proc, users and keys, as folders on the host."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from scripts.virtual_board.profile import Profile
from scripts.virtual_board.replay import read_steps, sensor_names

USER, USER_ID = "bench", 1000
_PROGRAMS = Path(__file__).parent / "programs"
_SSHD_CONFIG = """Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile /run/sshd.pid
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
Subsystem sftp internal-sftp
"""


def write_layer(folder: Path, system: Path, profile: Profile, host_name: str) -> None:
    """Write `layer` (over the system), `sys`, `proc` and `replay` below the board's folder, and keys for ssh."""
    layer = folder / "layer"
    for name, text in profile.root_files.items():
        _write(layer / name, text)
    for name, program in profile.programs.items():
        _write(layer / name, (_PROGRAMS / program).read_text("utf-8"), 0o755)
    _write_users(layer, system, host_name)
    _write_keys(folder, layer)
    _write_sys(folder / "sys", profile)
    _write_proc(folder / "proc", profile)
    (folder / "replay").mkdir()
    if not profile.replay.get("users_see_rails", True):
        _write(folder / "replay" / "rails-for-root-only", "")
    for name in ("opt/replay", "proc", "sys", "dev", "run", "tmp", "root"):
        (layer / name).mkdir(parents=True, exist_ok=True)
    (layer / "tmp").chmod(0o1777)
    (layer / "root").chmod(0o700)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(mode)


def _write_users(layer: Path, system: Path, host_name: str) -> None:
    """The tree was only unpacked: what Debian's scripts would have made of users is made here."""
    defaults = system / "usr/share/base-passwd"
    passwd = (defaults / "passwd.master").read_text().replace("root:*:", "root:x:", 1)
    passwd += f"sshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n{USER}:x:{USER_ID}:{USER_ID}::/home/{USER}:/bin/bash\n"
    _write(layer / "etc/passwd", passwd)
    _write(layer / "etc/group", (defaults / "group.master").read_text() + f"{USER}:x:{USER_ID}:\n")
    _write(layer / "etc/shadow", f"root:*:19000::::::\n{USER}:*:19000::::::\n", 0o600)
    _write(layer / "etc/hostname", f"{host_name}\n")
    _write(layer / "etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {host_name}\n")
    _write(layer / "etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\n")


def _write_keys(folder: Path, layer: Path) -> None:
    for name, place in (("host_key", layer / "etc/ssh/ssh_host_ed25519_key"), ("user_key", folder / "user_key")):
        place.parent.mkdir(parents=True, exist_ok=True)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"virtual-board {name}", "-f", str(place)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    shutil.copy(layer / "etc/ssh/ssh_host_ed25519_key.pub", folder / "host_key.pub")
    _write(layer / "etc/ssh/sshd_config", _SSHD_CONFIG)
    public = (folder / "user_key.pub").read_text()
    for home, owner in ((layer / "home" / USER, USER_ID), (layer / "root", 0)):
        _write(home / ".ssh/authorized_keys", public, 0o600)
        (home / ".ssh").chmod(0o700)
        for path in (home, home / ".ssh", home / ".ssh/authorized_keys"):
            os.chown(path, owner, owner)


def _write_sys(folder: Path, profile: Profile) -> None:
    for name, text in {**profile.sys_files, **sensor_names(profile.replay)}.items():
        _write(folder / name, text if text.endswith("\0") else f"{text}\n")
    count = profile.cpus["count"]
    for name in ("online", "possible", "present"):  # onnxruntime ends itself without these
        _write(folder / "devices/system/cpu" / name, f"0-{count - 1}\n")
    clocks = {"min": "min_khz", "max": "max_khz", "cur": "now_khz"}
    for number in range(count):
        place = folder / f"devices/system/cpu/cpu{number}/cpufreq"
        _write(place / "scaling_governor", f"{profile.cpus['governor']}\n")
        for name, key in clocks.items():
            _write(place / f"scaling_{name}_freq", f"{profile.cpus[key]}\n")
    for number, (zone, millidegrees) in enumerate(profile.zones.items()):
        _write(folder / f"class/thermal/thermal_zone{number}/type", f"{zone}\n")
        _write(folder / f"class/thermal/thermal_zone{number}/temp", f"{millidegrees}\n")
    mode = int(profile.replay.get("sensor", {}).get("mode", "0444"), 8)
    for name, value in read_steps(profile.replay)[0].numbers.items():
        _write(folder / name, number_text(value), mode)


def number_text(value: int) -> str:
    """Of constant length, so that a reader sees the old or the new value and never half of one."""
    return f"{value:<9d}\n"


def _write_proc(folder: Path, profile: Profile) -> None:
    each = "\n".join(profile.cpuinfo["each_cpu"])
    blocks = [f"processor\t: {number}\n{each}\n" for number in range(profile.cpus["count"])]
    _write(folder / "cpuinfo", "\n".join([*blocks, *(f"{line}\n" for line in profile.cpuinfo["tail"])]))
    lines = [f"{key + ':':<16}{value:>8} kB\n" for key, value in profile.meminfo_kib.items()]
    _write(folder / "meminfo", "".join(lines))
