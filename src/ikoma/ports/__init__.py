"""The Protocols between what IKOMA decides and what carries it out.

Capabilities see containers and databases only through these. Every Protocol has one suite in tests/contract.
All methods are coroutines unless they are cheap and local; all sizes are bytes, all durations seconds.
"""
