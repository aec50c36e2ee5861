"""Every format on disk, and the only importer of h5py.

Pools, calibration sets, ranges, scale tables, predictions, engines, TensorRT's calibration caches.
"""
