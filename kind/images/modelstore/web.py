"""The model store over plain HTTP: / serves DIR; /slow/SECONDS/PATH waits first; /status/CODE/... answers CODE; /html/... answers 200 with
a login page. usage: web.py DIR"""
import functools
import http.server
import sys
import time

MAX_WAIT = 600  # seconds


class Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".joblib": "application/octet-stream",
        ".pkl": "application/octet-stream",
        ".gz": "application/gzip",
    }

    def do_GET(self):
        _, kind, *rest = self.path.split("/")
        if kind == "status":
            return self.send_error(int(rest[0]))
        if kind == "html":
            return self.login_page()
        if kind == "slow":
            time.sleep(min(float(rest[0]), MAX_WAIT))
            self.path = "/" + "/".join(rest[1:])
        return super().do_GET()

    def login_page(self):
        body = b"<html>please log in</html>"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("", 8000), functools.partial(Handler, directory=sys.argv[1])).serve_forever()
