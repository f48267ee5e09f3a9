"""Open the page, on this machine or in a Hugging Face Space; ``python app.py --help`` lists the options."""

from __future__ import annotations

import sys

from ovseg_demo.cli import serve


def main() -> int:
    """Open the page and serve it until the process is asked to stop."""
    return serve.main(sys.argv[1:], prog="python app.py")


if __name__ == "__main__":
    sys.exit(main())
