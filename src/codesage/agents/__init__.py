"""Search for agents, by the Model Context Protocol.

`server.py` speaks the protocol. `folders.py` knows which folders may be searched, updates their indexes and answers queries.
`stores.py` does the same for a store. `install.py` writes the configuration of common agents, and `commands.py` is `codesage
mcp`.
"""
