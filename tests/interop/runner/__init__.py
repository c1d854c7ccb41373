"""A runner of interoperability cases on this machine: those of the QUIC interop runner
(github.com/quic-interop/quic-interop-runner), with processes in place of containers and a UDP proxy in
place of the network simulator.  ``python -m tests.interop.runner`` runs them against every peer there is.
"""
