"""What runs and operates the platform: migrations, the local stack, the sspp command."""
