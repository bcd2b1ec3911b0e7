"""The doors to Ray, MLflow and object storage."""
