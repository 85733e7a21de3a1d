"""Rolls a release out on one machine: plans, renders, starts beside what serves, and returns to the standby."""
