"""The sub-commands of ``ovseg``, one module each.

:data:`ovseg_demo.cli.main.COMMANDS` lists the modules. A module has ``add_arguments(parser)`` and
``run(arguments) -> exit code``. It is imported only when its command is called, so it may import modules that
are slow to import.
"""
