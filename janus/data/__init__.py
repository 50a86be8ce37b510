"""Images: benches, files, transforms, class orders, and the stream of tasks."""
