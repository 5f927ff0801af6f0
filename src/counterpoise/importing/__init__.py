"""Volumes in other forms, brought into the CellMap layout: images, TIFF, HDF5, zarr, N5, NIfTI, nnU-Net folders."""
