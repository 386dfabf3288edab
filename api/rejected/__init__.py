"""What was refused, and sending it through again."""
