"""DIV2K from its official archives."""
