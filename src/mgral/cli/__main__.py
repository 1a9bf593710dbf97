"""The command line: ``python -m mgral.cli``."""

import sys

from mgral.cli import main

sys.exit(main())
