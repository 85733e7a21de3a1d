"""Kills at random moments of all that touches data, and a look at what is left, by other ways than IKOMA's.

make faults ARGS="--kills 100 --seed 7"
"""
