"""What every test shares: no time limit on single Hypothesis examples.

Machines that build several things at once are slow by fits; a law does not depend on that. In CI
Hypothesis itself chooses its ``ci`` profile (no limit, the same examples on every run).
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("local", deadline=None)
if "CI" not in os.environ:
    settings.load_profile("local")
