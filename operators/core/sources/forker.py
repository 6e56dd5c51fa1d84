"""The process that forks a child for each untrusted file; `COMMAND` starts it.

It is started with an environment of its own, before any file is read, and never reads one itself: it has no secret and
no connection that a child could inherit, and has loaded every parser. multiprocessing's fork server would be started
with the task's environment, would import the task's main module and would unpickle what its children are to do.
"""

from __future__ import annotations

import codecs
import contextlib
import encodings
import gc
import io
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import zlib
from encodings.aliases import aliases
from typing import Any

from operators.core.errors import NightshiftError
from operators.core.sources.child import parse, serve
from operators.core.sources.job import ParseJob
from operators.core.sources.spec import Column, ColumnType, CsvDialect, Format, ReadLimits

READY, LATE = b"ready", b"late"
"""What the forker says once, and what it is told when a child's time is up."""
COMMAND = f"import sys; sys.modules.update(numpy=None, pandas=None); from {__name__} import main; main()"
"""pyarrow would load both if it could, for what no parser needs: 60 MB that each fork would have to map."""


def main() -> None:
    """Serve until the other end of the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    close_codecs()
    warm()
    gc.collect()
    gc.freeze()
    control.send(READY)
    while True:
        request, fds, _, _ = socket.recv_fds(control, 65536, 1)
        if not request:
            return
        if request == LATE:  # of a child that had ended when it was said
            continue
        limits = ReadLimits(**json.loads(request))
        child = os.fork()
        if child == 0:
            _be_a_child(control, fds[0], limits)
        os.close(fds[0])
        try:
            control.send(json.dumps(_watch(child, control)).encode())
        except BrokenPipeError:  # the client went while the child ended
            return


def warm() -> None:
    """Have imported whatever a parser imports when it first needs it: a child can open no file."""
    every = tuple(Column(kind.value, kind) for kind in ColumnType)
    mail = (Column("id"), Column("body"), Column("subject", header="Subject"))
    samples = {
        Format.JSON_LINES: (every, b'{"text": "\xc3\xa4", "timestamp": "2002-09-26T18:26:25+07:00"}\n'),
        Format.CSV: (every, b'text,number\n"a\nb",1.5\n'),
        Format.MBOX: (mail, b"From a b\nSubject: =?iso-8859-1?q?=E4?= =?utf-8?b?eA=?=\n\n\xe4\n"),
        Format.EML: (mail, b"Subject: x\n\nbody\n"),
        Format.PARQUET: (every, _parquet_sample()),
    }
    for form, (columns, data) in samples.items():
        for compression, packed in (("", data), (".gz", zlib.compress(data, wbits=31)), (".zip", b""), (".xz", b"")):
            job = ParseJob(
                format=form,
                compression=compression,
                columns=columns,
                id_column=columns[0].name,
                csv=CsvDialect(),
                limits=ReadLimits(),
                constants={},
            )
            with contextlib.suppress(NightshiftError):
                list(parse(io.BytesIO(packed), len(packed), job))


def close_codecs() -> None:
    """Have every charset known that there is, and no other: looking for one opens files, which a child cannot."""
    known = {}
    for module in pkgutil.iter_modules(encodings.__path__):
        with contextlib.suppress(LookupError, ImportError):
            codec = codecs.lookup(module.name)
            if codec._is_text_encoding:
                known[module.name] = codec

    def search(name: str) -> codecs.CodecInfo | None:
        plain = encodings.normalize_encoding(name).lower()
        return known.get(aliases.get(plain, plain))

    codecs.unregister(encodings.search_function)
    codecs.register(search)


def _parquet_sample() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from operators.core.sources.columns import ARROW_TYPES

    sink = pa.BufferOutputStream()
    arrays = {kind.value: pa.nulls(1, ARROW_TYPES[kind]) for kind in ColumnType}
    pq.write_table(pa.table(arrays), sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def _be_a_child(control: socket.socket, connection: int, limits: ReadLimits) -> None:
    code = 1
    try:
        control.close()
        # A parser that breaks may print what it was reading.
        nowhere = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(nowhere, fd)
        os.close(nowhere)
        serve(socket.socket(fileno=connection), limits)
        code = 0
    finally:
        os._exit(code)


def _watch(child: int, control: socket.socket) -> dict[str, Any]:
    """Return how a child ended: by itself, or killed when the client said so. Without a client both processes end."""
    handle = os.pidfd_open(child)
    try:
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        poller.register(control, select.POLLIN)
        has_ended = handle in dict(poller.poll())
        if not has_ended:
            os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        os.close(handle)
    if not has_ended and not control.recv(len(LATE)):
        sys.exit(0)
    return {"status": status}
