"""What runs a network, behind one interface (base.py)."""
