"""Pools made from what people have: .npz files, manifests of media files, Python generators."""
