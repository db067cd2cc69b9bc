"""Benchmarks that can be repeated: the jobs, how they are measured, and the page that shows what came out."""
