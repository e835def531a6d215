"""Quota decisions in process: rules arrive by topic, requests are decided here, usage flows back by topic."""

from chassis.gcra import Gcra
from chassis.protection.feed import RuleFeed
from chassis.protection.lease import Grant, LeaseSource
from chassis.protection.lease_keeper import LeaseKeeper
from chassis.protection.protection import Protection
from chassis.protection.reporter import UsageReporter
from chassis.protection.rule import Rule, check_rule
from chassis.protection.usage import UsageWindow

__all__ = [
    "Gcra",
    "Grant",
    "LeaseKeeper",
    "LeaseSource",
    "Protection",
    "Rule",
    "RuleFeed",
    "UsageReporter",
    "UsageWindow",
    "check_rule",
]
