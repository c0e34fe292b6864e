"""Search: an index of chunks and vectors, queries and ranking."""
