"""The images of docker/: linted, built twice on bases of Debian and compared, and tried from inside.

Standard library only. `python -m scripts.docker_images`, or scripts/docker-images.
"""
