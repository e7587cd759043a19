"""Places2 from its official archives."""
