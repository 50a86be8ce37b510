"""Images in memory: stores, augmentation, transforms, prefetching."""
