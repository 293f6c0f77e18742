"""What other programs write: tegrastats and trtexec."""
