"""Side-by-side measurements: IKOMA and the alternative, alternating in one run, medians and their ratio.

The machine is shared and noisy, so a figure is never compared with one of another day. `make bench` measures
everything and writes docs/benchmarks.md.
"""
