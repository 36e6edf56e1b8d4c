"""Speaks TLS on a free port of loopback on behalf of a server: python3 tls.py CERTIFICATE KEY PORT. Says its port."""

import select
import socket
import ssl
import sys
import threading


def serve(client, context, server):
    """Hands on what comes until either side ends, on one thread: a TLS connection is not to be used by two."""
    try:
        with context.wrap_socket(client, server_side=True) as secure:
            with socket.create_connection(("127.0.0.1", server)) as upstream:
                while True:
                    ready = [secure] if secure.pending() else select.select([secure, upstream], [], [])[0]
                    for source, target in ((secure, upstream), (upstream, secure)):
                        if source in ready:
                            piece = source.recv(1 << 16)
                            if not piece:
                                return
                            target.sendall(piece)
    except OSError:
        # A client that trusts nobody here goes away.
        pass


def main(certificate, key, server):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client, context, server), daemon=True).start()


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
