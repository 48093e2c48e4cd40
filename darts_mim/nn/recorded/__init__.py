"""Steps of networks that are recorded on a GPU and replayed, as CUDA graphs.

A step of all layers is hundreds of small kernels, which take longer to launch than to run. Once
they are recorded, it is one launch each way. What is recorded is the fast path, or the plain cells
where it cannot run.
"""
