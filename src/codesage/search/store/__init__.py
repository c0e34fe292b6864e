"""Search beyond one machine: one LanceDB table, in a folder or an object store, filled by this process or by a Ray cluster."""
