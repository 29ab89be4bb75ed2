"""A browser for tests, as ``BROWSER`` names one: ``sys.executable browser.py URL`` loads the page
that the URL leads to, and stays open until its input ends."""

import sys

import httpx

with httpx.Client(follow_redirects=True, trust_env=False) as browser:
    browser.get(sys.argv[1])
sys.stdin.read()
