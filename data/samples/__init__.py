"""The photographs that scikit-image ships."""
