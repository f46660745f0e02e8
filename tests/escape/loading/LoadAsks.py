"""Asks the platform while it loads, and goes on asking from a thread."""

import os
import threading
import time
import urllib.error
import urllib.request

told = []


def ask():
    request = urllib.request.Request(os.environ["ALGORITHMIA_API"] + "/v1/data/")
    try:
        with urllib.request.urlopen(request) as answer:
            return [answer.status, answer.read().decode()]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]


def load():
    told.append(["load", *ask()])

    def go_on():
        while True:
            told.append(["thread", *ask()])
            time.sleep(0.02)

    threading.Thread(target=go_on, daemon=True).start()


def apply(value):
    told.append(["call", *ask()])
    return list(told)
