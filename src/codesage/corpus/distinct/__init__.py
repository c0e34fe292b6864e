"""Which documents and pairs stay: equal and nearly equal ones, and items of benchmarks."""
