"""Addresses for boards: small networks that nothing on this machine uses."""

from __future__ import annotations

import ipaddress
import json
import random
import subprocess

from scripts.virtual_board.errors import BoardError

# For tests of network devices (RFC 2544): no address of it is in use on the internet or in private networks.
_RANGE = ipaddress.ip_network("198.18.0.0/15")
_ATTEMPTS = 200


def pick_subnet() -> tuple[str, str]:
    """(the host's address, the board's) in a /30 that overlaps no address and no route here. Raises BoardError."""
    used = used_networks()
    for _ in range(_ATTEMPTS):
        first = int(_RANGE.network_address) + 4 * random.randrange(_RANGE.num_addresses // 4)
        subnet = ipaddress.ip_network((first, 30))
        if not any(subnet.overlaps(network) for network in used):
            return str(subnet[1]), str(subnet[2])
    raise BoardError(f"no free network in {_RANGE}: end boards that are not needed (virtual-board list)")


def used_networks() -> list[ipaddress.IPv4Network]:
    """Networks of all IPv4 addresses and routes of this machine, but for the one to everywhere."""
    found = []
    for words in ("route show table all", "address show"):
        command = ["ip", "-j", "-4", *words.split()]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for entry in json.loads(answer or "[]"):
            texts = [entry.get("dst", "default")]
            texts += [f"{one['local']}/{one['prefixlen']}" for one in entry.get("addr_info", []) if "local" in one]
            found += [ipaddress.IPv4Network(text, strict=False) for text in texts if text != "default"]
    return [network for network in found if network.prefixlen > 0]
