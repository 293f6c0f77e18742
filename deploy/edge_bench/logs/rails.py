"""Which rails of a tegrastats line are the whole, so that none is counted twice.

Sources: NVIDIA's device trees and jetson_stats (issue 51: the three rails of a Nano must not be added; issue 344). On
AGX Orin VDDQ_VDD2_1V8AO is already inside VIN_SYS_5V0.
"""

from typing import Iterable, Optional, Tuple

_TOTALS = (
    (("POM_5V_IN",), "module input"),
    (("VDD_IN",), "module input"),
    (("VIN",), "system input"),
    (("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), "sum of rails"),
    (("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"), "sum of rails"),
    (("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"), "sum of rails"),
)  # type: Tuple[Tuple[Tuple[str, ...], str], ...]


def total_rails(names: Iterable[str]) -> Optional[Tuple[Tuple[str, ...], str]]:
    """The rails to add and what their sum covers; None where no known set is whole: rails are not added by guess."""
    present = set(names)
    for rails, scope in _TOTALS:
        if present.issuperset(rails):
            return rails, scope
    return None
