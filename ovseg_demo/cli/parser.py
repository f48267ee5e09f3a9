"""The parser of all command lines."""

from __future__ import annotations

import argparse
from typing import NoReturn

USER_ERROR = 2
"""Exit code: the request cannot be carried out."""


class Parser(argparse.ArgumentParser):
    """Tells what is wrong in one sentence, without the list of all options."""

    def error(self, message: str) -> NoReturn:
        """Print the message and leave."""
        self.exit(USER_ERROR, f'error: {message}; "{self.prog} --help" tells more.\n')
