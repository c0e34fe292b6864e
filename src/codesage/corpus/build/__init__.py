"""What runs a build: engines, workers, work folders, tables and shards."""
