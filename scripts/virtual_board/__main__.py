"""`python -m scripts.virtual_board`."""

import sys

from scripts.virtual_board.cli import main

sys.exit(main(sys.argv[1:]))
