"""Chooses for each service: kept or replaced, side by side or one after the other, and how many containers."""
