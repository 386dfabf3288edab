"""What is measured, each scenario in a file of its own."""
