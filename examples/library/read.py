"""The same in Python: read.py DATA TABLE [KEY...]; without a key all rows, as columns."""

import sys

import kappa

with kappa.open(sys.argv[1]) as data, data.read(sys.argv[2]) as read:
    print(f"version {read.version} of {read.processor}, epoch {read.epoch}")
    table = read.table()
    print(table.get(sys.argv[3:]) if sys.argv[3:] else table.columns())
