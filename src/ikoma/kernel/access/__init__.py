"""Decides who may call: keys, tokens, approvals, confirmations, rates."""
