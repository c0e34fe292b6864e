"""Search for agents, by the Model Context Protocol.

The way of a question: `server.py` speaks the protocol, `folders.py` knows which folders may be searched, keeps their indexes
fresh and answers, `install.py` writes the configuration of common agents, `commands.py` is `codesage mcp`.
"""
