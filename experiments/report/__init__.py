"""Tables, figures and picture sheets, made from results files."""
