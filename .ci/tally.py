"""Prints how many tests of each marker ran and were skipped: `tally.py FOLDER EXPECTED…`.

Ends with 1 where no test of an expected marker ran, or where container tests were skipped.
"""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def counts(file: Path) -> tuple[int, int, int]:
    """Tests that ran, failed, and were skipped, from pytest's JUnit file; none without a file."""
    if not file.exists():
        return 0, 0, 0
    [suite] = ET.parse(file).getroot().iter("testsuite")
    names = ("tests", "failures", "errors", "skipped")
    tests, failures, errors, skipped = (int(suite.get(name, 0)) for name in names)
    return tests - skipped, failures + errors, skipped


def main(folder: Path, expected: list[str]) -> int:
    status = 0
    for marker in ("fast", "slow", "gpu", "containers"):
        ran, failed, skipped = counts(folder / f"{marker}.xml")
        verdict = ""
        if marker in expected and (not ran or (marker == "containers" and skipped)):
            verdict, status = "  <- expected to run here", 1
        print(f"{marker:<10} {ran:>5} ran  {failed:>4} failed  {skipped:>4} skipped{verdict}")
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
