"""duo: five functions of arrays, on NumPy or on PyTorch."""
