"""What every test shares: no time limit on single Hypothesis examples, and the device.

Machines that build several things at once are slow by fits; a law does not depend on that. In CI
Hypothesis itself chooses its ``ci`` profile (no limit, the same examples on every run).
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("local", deadline=None)
if "CI" not in os.environ:
    settings.load_profile("local")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests of work on devices run on a GPU: ``make test ARGS="--device cuda"``."""
    parser.addoption("--device", help="what 'auto' means in this run: cpu, cuda or cuda:N")


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say which libraries a run on a device covers: FAISS may see no GPU where PyTorch does."""
    if config.getoption("--device") is None:
        return None
    from vecstore.gpu.device import gpu_count
    from vecstore.indexes.faiss_gpu import faiss_gpu_count

    return f"device: PyTorch sees {gpu_count()} GPUs, FAISS {faiss_gpu_count()}"


def pytest_configure(config: pytest.Config) -> None:
    """Set the device; one that is not there ends the run, for it would prove nothing."""
    device = config.getoption("--device")
    if device is None:
        return
    from vecstore.gpu.device import DEVICE_VARIABLE, check_device, gpu_count

    if check_device(device).startswith("cuda") and not gpu_count():
        raise pytest.UsageError(f"--device {device}: PyTorch sees no GPU here")
    os.environ[DEVICE_VARIABLE] = device
