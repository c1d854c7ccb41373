"""What to acknowledge, what was lost, how fast to send (RFC 9002)."""
