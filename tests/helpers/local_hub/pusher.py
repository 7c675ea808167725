"""A process that pushes bundles in children of its own, so that a test can kill them: imports are paid for once.

Each line that it reads is a JSON list of `push_bundle`'s arguments: folder, name, path of the pickled rows, options. It
makes a child, prints its process id, and waits for a line before the child begins; when the child has ended, it prints
how.
"""

import json
import os
import pickle
import sys
from pathlib import Path

from excise.sharing.hub import push_bundle


def tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def main() -> None:
    for line in sys.stdin:
        folder, name, rows, options = json.loads(line)
        begin, began = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.read(begin, 1)
                push_bundle(folder, name, erased=pickle.loads(Path(rows).read_bytes()), **options)
                status = 0
            finally:
                os._exit(status)
        tell(child)
        sys.stdin.readline()
        os.write(began, b"!")
        tell(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        os.close(begin)
        os.close(began)


if __name__ == "__main__":
    main()
