"""Enqueue an issue job with nothing but dramatiq and redis: python enqueue.py QUEUE_URL CAMPAIGN PLAYER EMAIL"""

import sys
import uuid

import dramatiq
from dramatiq.brokers.redis import RedisBroker

url, campaign, player, email = sys.argv[1:]
recipient = {"player_id": player, "addresses": {"email": email}, "attributes": {"first_name": "Ann"}}
job = {"version": 1, "request_id": str(uuid.uuid4()), "campaign": campaign, "recipients": [recipient]}
message = dramatiq.Message(queue_name="issue", actor_name="issue_codes", args=(job,), kwargs={}, options={})
RedisBroker(url=url).enqueue(message)
