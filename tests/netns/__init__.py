"""Client and server in network namespaces of their own, joined by real interfaces of the kernel."""
