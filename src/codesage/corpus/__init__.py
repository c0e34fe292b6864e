"""The corpus: sources to documents, functions and (text, code) pairs."""
