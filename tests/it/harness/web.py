"""A web server on the loopback, with TLS where it has a certificate.

web.py [CERTIFICATE KEY]; the port stands on its standard output. /health says `up`, /to?URL leads on to URL.
"""

import http.server
import ssl
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path, _, url = self.path.partition("?")
        self.send_response(302 if path == "/to" else 200)
        if path == "/to":
            self.send_header("location", url)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"up")

    def log_message(self, *_):
        pass


context = None
if sys.argv[1:]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[1:])


class Server(http.server.ThreadingHTTPServer):
    def finish_request(self, request, address):
        if context is None:
            return super().finish_request(request, address)
        # In the thread of the connection: one that says nothing must not hold up the others.
        try:
            with context.wrap_socket(request, server_side=True) as connection:
                super().finish_request(connection, address)
        except (ssl.SSLError, OSError):
            pass  # whoever does not like the certificate goes away


server = Server(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
