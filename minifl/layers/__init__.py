"""The mathematics: every layer is a pair of pure functions, `y, cache = f(x, ...)` and `f_backward(dy, cache)`.

Axis 0 is the client, axis 1 the example: activations are (K, N, ...), images (K, N, H, W, C), parameters
(K, ...). Nothing is summed over axis 0. Any float or complex dtype goes in and the same comes out, so the code
that the complex-step gradient check exercises is the code that trains in float32. Each pair is written to be read;
where that is slow, networks import its twin from another package, which has the same values and gradients.
"""
