"""The compose policy: what a compose file may contain, deny by default.

`reading` looks at the raw files before Compose may read anything, `model` at what Compose made of them. Both return
violations, each with its rule and its place; `enforcement` gathers the facts and leaves out what an admin has waived.
"""
