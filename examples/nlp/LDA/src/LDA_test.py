import http.server
import json
import threading
from collections import Counter

import pytest

from .errors import EntityNotFoundError, InputError, ParsingError
from .LDA import apply

DOCUMENTS = ["The apples are ready for picking", "It's apple picking season"]
TOPICS = [{"picking": 2}, {"apple": 1}, {"apples": 1, "ready": 1}, {"season": 1}]


@pytest.fixture
def platform(monkeypatch):
    """A server with files, under the address where the platform's own would be."""
    files = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content = files.get(self.path)
            self.send_response(404 if content is None else 200)
            if content is None:
                self.send_header("X-Error-Message", "path not found")
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content or b"")

        do_HEAD = do_GET  # noqa: N815 - the server looks for this name

        def log_message(self, format, *args):
            pass

    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    except PermissionError:
        pytest.skip("this sandbox allows no server, not even for its own tests")
    server.files = files
    server.address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("ALGORITHMIA_API", server.address)
    monkeypatch.delenv("ALGORITHMIA_API_KEY", raising=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def total(topics):
    return dict(sum((Counter(t) for t in topics), Counter()))


def test_the_example_of_the_user_guide():
    assert apply({"docsList": DOCUMENTS}) == TOPICS


def test_the_order_of_the_documents_does_not_matter():
    assert apply({"docsList": DOCUMENTS[::-1]}) == TOPICS


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_those_of_the_documents(seed):
    topics = apply({"docsList": DOCUMENTS, "seed": seed})

    assert total(topics) == {"picking": 2, "apple": 1, "apples": 1, "ready": 1, "season": 1}


def test_separate_subjects_become_separate_topics():
    cooking = "bread butter flour oven yeast dough knead bake"
    sailing = "boat sail wind mast harbour tide anchor keel"
    topics = apply({"docsList": [cooking, sailing] * 20, "numTopics": 2})

    assert {frozenset(t) for t in topics} == {
        frozenset(cooking.split()),
        frozenset(sailing.split()),
    }
    assert all(count == 20 for topic in topics for count in topic.values())


def test_options_limit_topics_and_words_and_stop_words():
    options = {"numTopics": 2, "wordsPerTopic": 1, "stopWords": ["Picking"], "iterations": 20}
    topics = apply({"docsList": DOCUMENTS, **options})

    assert len(topics) <= 2
    assert all(len(topic) == 1 for topic in topics)
    assert "picking" not in total(topics)


def test_older_spellings_mean_the_same():
    now = {"docsList": DOCUMENTS, "numTopics": 3, "wordsPerTopic": 2, "iterations": 50}
    once = {
        "docsList": DOCUMENTS,
        "customSettings": {"numTopics": 3, "numWords": 2, "numIterations": 50},
        "mode": "quality",
        "stopWordsList": ["/"],
    }

    assert apply(once) == apply(now)


@pytest.mark.parametrize(
    "content",
    [json.dumps(DOCUMENTS), json.dumps({"docsList": DOCUMENTS}), "\ufeff" + "\n\n".join(DOCUMENTS)],
)
@pytest.mark.parametrize("form", ["data URI", "URL", "docsFile", "bare string"])
def test_documents_are_read_from_a_file(platform, content, form):
    platform.files["/v1/data/.my/docs/all"] = content.encode()
    uri = "data://.my/docs/all"
    given = {
        "data URI": {"docsList": uri},
        "URL": {"docsList": f"{platform.address}/v1/data/.my/docs/all"},
        "docsFile": {"docsFile": uri},
        "bare string": uri,
    }[form]

    assert apply(given) == TOPICS


@pytest.mark.parametrize("scheme", ["data://.my/docs/none", "{address}/none"])
def test_a_missing_file_is_named(platform, scheme):
    uri = scheme.format(address=platform.address)

    with pytest.raises(EntityNotFoundError) as caught:
        apply({"docsList": uri})
    assert uri.removeprefix("data://") in str(caught.value)
    assert caught.value.error_type == "EntityNotFoundError"


@pytest.mark.parametrize("content", [b'["half', b"\xff\xfe\x00"])
def test_a_file_that_is_no_list_of_documents_is_a_parsing_error(platform, content):
    platform.files["/v1/data/.my/docs/bad"] = content

    with pytest.raises(ParsingError):
        apply({"docsList": "data://.my/docs/bad"})


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (None, "docsList"),
        (5, "docsList"),
        ({}, "docsList is missing"),
        ({"docsList": [1]}, "list of strings"),
        ({"docsList": "one document"}, "wrap a single document"),
        ({"docsList": ["the of 12"]}, "no words"),
        ({"docsList": []}, "no words"),
        ({"docsList": DOCUMENTS, "numTopics": 0}, "numTopics must be between 1 and 200"),
        ({"docsList": DOCUMENTS, "numTopics": "4"}, "whole number"),
        ({"docsList": DOCUMENTS, "seed": True}, "whole number"),
        ({"docsList": DOCUMENTS, "stopWords": "the"}, "stopWords must be a list"),
        ({"docsList": DOCUMENTS, "mode": ["fast"]}, "mode must be one of"),
        ({"docsList": DOCUMENTS, "customSettings": 3}, "customSettings"),
    ],
)
def test_wrong_input_is_an_input_error_that_says_what(given, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        apply(given)

    assert caught.value.error_type == "InputError"
