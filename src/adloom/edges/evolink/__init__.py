"""EvoLink over HTTP: the image API with its tasks, its file service, and the download of results."""
