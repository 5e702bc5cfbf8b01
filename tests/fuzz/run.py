"""Fuzz everything that reads foreign bytes, guided by coverage: ``make fuzz``.

Each target runs in a process of its own, for it may crash. An input that raises anything but
VecstoreError, crashes, hangs or eats memory is kept under build/fuzz and ends the run with code 1;
what was found belongs into the tests of its room as an example.

    python -m tests.fuzz.run --seconds 60 [TARGET ...]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

BUILD = Path(__file__).parents[2] / "build" / "fuzz"


def main() -> int:
    """Run the targets one after the other; return how many had findings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*")
    arguments, rest = parser.parse_known_args()
    if arguments.child:
        fuzz(arguments.child, [*arguments.targets, *rest])
    from tests.fuzz.targets import TARGETS

    findings = []
    for name in arguments.targets or TARGETS:
        print(f"== {name}", flush=True)
        corpus, found = BUILD / name / "corpus", BUILD / name / "found"
        for folder in (corpus, found):
            folder.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(TARGETS[name].seeds):
            (corpus / f"seed-{number}").write_bytes(seed)
        limits = ["-timeout=20", "-rss_limit_mb=4096", "-max_len=4096", "-verbosity=0"]
        command = [sys.executable, "-m", "tests.fuzz.run", "--child", name, str(corpus), *limits]
        command += [f"-max_total_time={arguments.seconds}", f"-artifact_prefix={found}/"]
        if subprocess.run(command, check=False).returncode:
            findings.append(name)
    print(f"{len(findings)} targets with findings: {', '.join(findings) or 'none'}")
    return 1 if findings else 0


def fuzz(name: str, rest: list[str]) -> None:
    """Fuzz one target; ends the process."""
    import atheris  # type: ignore[import-untyped,import-not-found]

    with atheris.instrument_imports(
        include=["vecstore", "vecstore_ingest", "vecstore_translators"],
        enable_loader_override=False,
    ):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    atheris.Setup([sys.argv[0], *rest], lambda data: target(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
