"""CelebA-HQ from a folder or a zip archive."""
