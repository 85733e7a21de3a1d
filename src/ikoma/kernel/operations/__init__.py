"""Changing calls at work: each an operation, which the journal keeps."""
