"""Which rails carry the whole load: by name, and only where it is documented. Rails are never added by guess."""

from typing import Iterable, Optional, Tuple

from edge_bench.board.files import device_tree

# Total rails, first match wins: (rails that are added, what the sum covers). Nano: the rails of the INA3221 must not
# be added (jetson_stats issue 51). AGX Orin: VDDQ_VDD2_1V8AO is already inside VIN_SYS_5V0. Thor: VIN is the input
# of the system with its carrier; without it three rails are an estimate of the module, which is another scope.
_TOTALS: Tuple[Tuple[Tuple[str, ...], str], ...] = (
    (("POM_5V_IN",), "module input"),
    (("VDD_IN",), "module input"),
    (("VIN",), "system input"),
    (("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), "sum of rails"),
    (("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"), "sum of rails"),
    (("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"), "sum of rails (estimate of the module, without the system input)"),
)


def total_of(names: Iterable[str]) -> Optional[Tuple[Tuple[str, ...], str]]:
    """(rails to add, their scope) for a board that has rails of these names; None when no total is documented."""
    known = set(names)
    for rails, scope in _TOTALS:
        if known.issuperset(rails):
            return rails, scope
    return None


def no_total(names: Iterable[str]) -> str:
    """Why there is no figure although there are rails."""
    return "the rails %s are readable, but none is known to carry the whole load" % ", ".join(sorted(names))


def has_no_sensor(root: str) -> bool:
    """A Jetson Nano 2GB has no INA3221 (README of a public energy library; its tegrastats lines hold no rails)."""
    return "Nano 2GB" in device_tree(root, "model")
