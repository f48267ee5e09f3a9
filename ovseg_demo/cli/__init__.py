"""The sub-commands of ``ovseg``, one module each.

A module has ``add_arguments(parser)`` and ``run(arguments) -> exit code``, and is named in
:data:`ovseg_demo.cli.main.COMMANDS`. It is imported only when its command is called, so that it may import
what is slow to import.
"""
