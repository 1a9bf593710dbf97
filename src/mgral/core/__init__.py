"""What every room uses: errors, types, boxes, files, plug-ins, randomness."""
