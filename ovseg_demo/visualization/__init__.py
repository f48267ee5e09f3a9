"""Images that show a label map: overlay, legend, colours and fonts."""
