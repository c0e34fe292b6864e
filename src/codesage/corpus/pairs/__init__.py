"""The pairs of text and code in a document, and those between the files of a source."""
