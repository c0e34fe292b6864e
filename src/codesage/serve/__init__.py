"""A server for embeddings and search, over HTTP.

`access.py` says who may talk to it, and `guard.py` refuses all other requests. `app.py` has the addresses. `batching.py`
encodes the texts of several requests in one batch. `codesage.agents.folders` answers queries about code. `page/` is the web
page, and `commands.py` is `codesage serve`.
"""
