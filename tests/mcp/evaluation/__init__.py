"""Fourteen goals of an assistant, over a real server with real containers: the calls, dead ends and tokens of each."""
