"""Dose-response of interventions: when runs grok, arm by arm and dose by dose."""
