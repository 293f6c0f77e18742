"""Lines of tegrastats: only their power figures."""

import re
from typing import Any, Dict, Optional

_POWER = re.compile(r"(?<![\w@/.])([A-Za-z]\w*) (\d+)(m?W)?/(\d+)(m?W)?(?:/(\d+)mW)?(?![\w.(])(?! ?\()")


def parse_line(text: str) -> Optional[Dict[str, Any]]:
    """`power_w` by rail; None for a line that is no sample."""
    if "CPU [" not in text and "RAM " not in text:
        return None
    rails = {}
    for name, current, _, average, _, maximum in _POWER.findall(text):
        if name not in ("NC", "RAM", "SWAP", "IRAM"):
            figures = [float(figure) / 1e3 if figure else None for figure in (current, average, maximum)]
            rails[name] = dict(zip(("current", "average", "maximum"), figures))
    return {"power_w": rails}
