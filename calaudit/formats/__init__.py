"""Every format on disk: pools, calibration sets, ranges, scales. The only importer of h5py."""
