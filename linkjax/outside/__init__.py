"""What people bring: photographs, masks, labels painted in the browser, classes under other names."""
