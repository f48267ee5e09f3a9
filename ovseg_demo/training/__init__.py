"""The paper's training recipe as commands: one module a step, one loop for all of them (see :mod:`.loop`)."""
