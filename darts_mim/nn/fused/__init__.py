"""The fast path of the recurrent networks: the same numbers as the plain cells, sooner.

Normalisation and gates are one pass over the tensors each way, and what the backward pass can
compute again is not stored. Convolutions are PyTorch's, or on a CPU those of fewer products. Weight
gradients are summed outside of the graph.
"""
