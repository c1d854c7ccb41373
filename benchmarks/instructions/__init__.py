"""CPU instructions per packet and operation, counted by callgrind: ``python -m benchmarks.instructions``.

They hardly vary from run to run, so a regression shows without a quiet machine.  ``reference.json`` holds
the counts that changes are held against.
"""
