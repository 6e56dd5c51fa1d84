"""What the summary says of the live model, as a server of the Open Inference Protocol answers it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from operators.local.predict import predict

ANSWERS = {"Ada is in Rome": '[[0,3,"person"],[10,14,"location"]]', "nobody": "[]"}


class Answering(BaseHTTPRequestHandler):
    """Answers with the labels above."""

    def do_POST(self) -> None:
        """Answer one request."""
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["inputs"][0]["data"]
        outputs = [
            {"name": "label", "data": [ANSWERS[text] for text in texts]},
            {"name": "score", "data": [0.5] * len(texts)},
        ]
        body = json.dumps({"model_version": "v1", "outputs": outputs}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """A server's address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_spans_are_quoted_and_labels_told_as_they_are(url: str) -> None:
    """Offsets say nothing to a person; a text without spans says so."""
    found = predict(url, "names", "token_classification", list(ANSWERS))
    plain = predict(url, "names", "text_classification", ["nobody"])

    assert [one["label"] for one in found] == ["person 'Ada', location 'Rome'", "nothing"]
    assert [(one["label"], one["version"]) for one in plain] == [("[]", "v1")]
