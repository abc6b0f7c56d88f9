"""What was spent and what it produced: by campaign, edition, job, axis value and model, equal to the ledger."""
