"""The result store: any frozen record under a key that says what it was made from."""
