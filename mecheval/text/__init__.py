"""What people type and read: names, quotes, what is allowed, suggestions, escaping."""
