"""The argument parser that all commands use."""

from __future__ import annotations

import argparse
from typing import NoReturn

from ovseg_demo.cli.exit_codes import USER_ERROR


class Parser(argparse.ArgumentParser):
    """An argument parser that reports an error in one sentence, without the list of options."""

    def error(self, message: str) -> NoReturn:
        """Print the message on stderr and exit."""
        self.exit(USER_ERROR, f'error: {message}; see "{self.prog} --help".\n')
