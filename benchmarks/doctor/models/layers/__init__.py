"""Layers of four libraries behind one interface, so that each architecture is written once.

A kit of layers creates what it is called for by name, and finds it by that name from then on:

* `dense(name, x, width)`, `embed(name, ids)`, `convolve(name, x, causal)`, `norm(name, x, axis)`, `dropout(name, x)`;
* `recur(name, x, state, real, reverse)` returns the last state, a tuple that ends with h, and all outputs; where `real`
  is False, the state is kept. A state of None is that of zeros.

All arrays are batch-major. `Initial` is how the weights start.
"""
