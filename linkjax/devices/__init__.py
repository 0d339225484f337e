"""Where the work is done: devices and processes, batches and their memory, compiled programs, progress."""
