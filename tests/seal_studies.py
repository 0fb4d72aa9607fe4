"""Give the records and plans of stored studies their checksums, where they lack them; run by hand, once for a study:

python -m tests.seal_studies data/results/students ..
"""

import sys
from pathlib import Path

from kcd_teach._files import sealed, unsealed, written_whole

if __name__ == "__main__":
    for folder in map(Path, sys.argv[1:]):
        for path in sorted([*folder.glob("results.jsonl"), *folder.glob("plan.json")]):
            indent = 1 if path.suffix == ".json" else None
            text = path.read_text(encoding="utf-8")
            parts = [text] if indent else text.splitlines()
            with written_whole(path) as file:
                file.write("".join(sealed(unsealed(part), indent) + "\n" for part in parts).encode())
            print(f"sealed {path}")
