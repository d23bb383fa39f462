"""The domain, pure: leagues, games, ratings, sentiment, features and estimators. No files, no network, no Dagster."""
