"""``python -m mecheval``: the same as the command ``mecheval``."""

import sys

from mecheval.cli import main

if __name__ == "__main__":
    sys.exit(main())
