"""What containers of the image and the services of docker-compose.yml need besides the platform itself."""
