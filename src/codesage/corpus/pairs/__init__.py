"""Pairs of text and code: those within a document, and those between the files of a source."""
