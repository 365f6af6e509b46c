"""A process that packs a root and may be killed: python pack_worker.py ROOT STORE WORKERS."""

import sys

from eo_ssl.data.store import pack
from eo_ssl.parallel import executor

if __name__ == "__main__":
    print("started", flush=True)
    with executor(int(sys.argv[3])) as pool:
        pack(sys.argv[1], sys.argv[2], pool)
    print("finished", flush=True)
