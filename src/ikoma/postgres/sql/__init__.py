"""Reads SQL text: statements, the parser, kinds of files."""
