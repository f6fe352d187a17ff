"""docker-compose.yml and the Dockerfile, held against the program. Docker itself is not needed."""
