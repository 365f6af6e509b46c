"""A process that packs a root and may be killed: python pack_worker.py ROOT STORE WORKERS."""

import sys

from eo_ssl.data.store import pack

if __name__ == "__main__":
    print("started", flush=True)
    pack(sys.argv[1], sys.argv[2], workers=int(sys.argv[3]))
    print("finished", flush=True)
