"""Work that ends: jobs and cron jobs."""
