"""Neural Diving: labels, network, partial assignments, sub-MIPs."""
