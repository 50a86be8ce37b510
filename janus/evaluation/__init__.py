"""What is measured after each task: accuracy and diagnostics."""
