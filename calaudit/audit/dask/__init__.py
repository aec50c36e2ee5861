"""The cells of an audit on the workers of an existing Dask cluster."""
