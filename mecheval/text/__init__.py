"""What people type: names and their quotes, what is allowed, and suggestions."""
