"""Files of one's own: what they declare, what they consist of, imported anew when they change."""
