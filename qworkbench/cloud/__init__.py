"""Paid and remote hardware: adapters to vendors, the job journal, the budget, compile cache and workers."""
