"""Settings for all tests."""

import hypothesis

# The same examples in every run, and no verdict by the clock: machines are shared.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("repeatable")
