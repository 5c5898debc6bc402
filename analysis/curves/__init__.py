"""What measured curves say: their points, the verdict in words, how well predictions hold."""
