"""Words in letters of five lines, of plain ASCII, that can be read from across a table."""

from typing import List

# Five rows of three pixels for each character, a digit of 0 to 7 for each row; the leftmost pixel counts 4.
_CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ -_.+/"
_FORMS = (
    "75557 26227 71747 71317 55711 74717 74757 71222 75757 75717 "  # 0 to 9
    "25755 65656 34443 65556 74647 74644 34553 55755 72227 11152 55655 44447 57755 "  # A to M
    "65555 25552 65644 25563 65655 34216 72222 55557 55552 55775 55255 55222 71247 "  # N to Z
    "00000 00700 00007 00002 02720 11244"
)
_GLYPHS = dict(zip(_CHARACTERS, _FORMS.split()))
_NUM_ROWS = 5


def big_text(text: str, max_columns: int) -> List[str]:
    """Five lines, as wide letters as fit; or one line of the text itself where none fit or a character has no form."""
    glyphs = [_GLYPHS.get(char) for char in text.upper()]
    for wide in (2, 1):
        columns = len(glyphs) * 4 * wide - wide
        if glyphs and columns <= max_columns and all(glyphs):
            return [_row([str(glyph)[row] for glyph in glyphs], wide) for row in range(_NUM_ROWS)]
    return ["", "", text[: max(max_columns, 0)], "", ""]


def _row(digits: List[str], wide: int) -> str:
    pixels = ("{:03b}".format(int(digit)).replace("0", " ").replace("1", "#") for digit in digits)
    return " ".join(pixels) if wide == 1 else "  ".join("".join(2 * pixel for pixel in part) for part in pixels)
