"""A Lambda handler. Try it: forkyard deploy examples/hello-python && forkyard invoke hello-python --data '{"name":"Ada"}'"""

import logging

logger = logging.getLogger()
logger.setLevel(logging.INFO)


def handler(event, context):
    name = event.get("name", "world")
    logger.info("greeting %s", name)
    return {"message": f"Hello, {name}!"}
