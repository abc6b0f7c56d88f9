"""What was spent and what came of it: by campaign, edition, job, value of an axis and model, equal to the ledger."""
