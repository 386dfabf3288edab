"""The sspp command line."""
