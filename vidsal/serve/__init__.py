"""A folder of results in, its pages in a browser out, with one to run further videos: `vidsal serve`."""
