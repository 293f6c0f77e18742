import sys

from edge_bench.cli import main

sys.exit(main())
