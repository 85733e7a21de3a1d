"""The MCP door: an AI assistant's way to the same capabilities, over Streamable HTTP and stdio.

`adapter.py` translates between the official SDK's low-level server and the pipeline; `tools.py` makes tools of the
registry; `answers.py` words results and failures for a model; `resources.py` and `prompts.py` are what can be read
and begun; `http.py` and `stdio.py` are the two transports. Nothing is declared here that the registry declares.
"""
