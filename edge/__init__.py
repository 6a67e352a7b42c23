"""What runs on a device and how it is taught: contracts, the C core, data, training, models."""
