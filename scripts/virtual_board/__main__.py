"""`python -m scripts.virtual_board`."""

import sys

try:
    from scripts.virtual_board.cli import main

    code = main(sys.argv[1:])
except KeyboardInterrupt:  # while it still loads
    code = 130
sys.exit(code)
