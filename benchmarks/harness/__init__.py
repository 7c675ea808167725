"""What the benchmarks share: turns and rows, the machine, peers, synthetic data, shapes, tables and plots."""
