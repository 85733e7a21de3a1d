"""Fits answers to who reads them: which calls lead on, which paths are named, one form of failure."""
