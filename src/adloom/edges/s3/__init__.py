"""S3 through boto3: the store of an archive, and the objects that campaigns name."""
