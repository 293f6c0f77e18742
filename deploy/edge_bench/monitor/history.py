"""The last values of a figure, for a row of characters that shows how it went."""

from typing import List, Optional

_MAX_VALUES = 500


class History:
    """`values`, oldest first; a value that is not known leaves no trace."""

    def __init__(self) -> None:
        self.values: List[float] = []

    def add(self, value: Optional[float]) -> None:
        if value is not None:
            self.values = (self.values + [value])[-_MAX_VALUES:]
