"""The fast path of the recurrent networks: the same numbers as the plain cells, sooner.

Convolutions stay PyTorch's. What lies between them, normalisation and gates, is one pass over the
tensors each way, and what the backward pass can compute again is not stored. Weight gradients are
summed outside of the graph and, where that is faster, taken over several time steps at once.
"""
