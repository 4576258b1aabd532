"""What a module does in a forward pass: its calls, what they are given, what makes what."""
