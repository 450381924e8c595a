"""Assignment 3: convolution, pooling, a residual block."""
