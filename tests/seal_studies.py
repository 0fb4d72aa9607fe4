"""Give the records and plans of stored studies their checksums, where they lack them; run by hand, once for a study:

python -m tests.seal_studies data/results/students ..
"""

import sys
from pathlib import Path

from kcd_teach.benchmark.store import seal

if __name__ == "__main__":
    for folder in map(Path, sys.argv[1:]):
        for path in sorted([*folder.glob("results.jsonl"), *folder.glob("plan.json")]):
            seal(path)
            print(f"sealed {path}")
