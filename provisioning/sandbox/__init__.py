"""A provider emulator that speaks Sendblue's HTTP contract, with a phone page and injected faults.

It stands alone: nothing of the hub and no web framework is imported here.
"""
