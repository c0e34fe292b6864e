"""A server for embeddings and search, over HTTP.

The way of a request: `guard.py` refuses what may not come in, `app.py` has the addresses, `batching.py` encodes the texts of
many requests together, `codesage.agents.folders` answers questions about code, `page/` is the web page. `commands.py` is
`codesage serve`.
"""
