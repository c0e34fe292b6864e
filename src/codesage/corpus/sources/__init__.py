"""What a corpus is built from: folders, repositories, archives, packages and Parquet."""
