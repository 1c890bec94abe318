"""What runs in the keeper, the process between `pgwerk.embedded` and its server: see `keeper`."""
