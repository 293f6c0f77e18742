"""The console script. A Ctrl-C while the modules are still being loaded ends as quietly as a later one."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from edge_dendrite.cli import run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
