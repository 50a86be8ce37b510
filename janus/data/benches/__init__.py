"""One loader per source of images."""
