"""Rolls a release out: decides, renders, starts beside what serves, switches, and returns to the standby."""
