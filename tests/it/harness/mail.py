"""A mail server with TLS on the loopback: keeps every dialogue and every mail, a line of JSON each.

mail.py implicit|starttls CERTIFICATE KEY FILE; the port stands on its standard output.
"""

import json
import socket
import ssl
import sys
import threading

mode, certificate, key, kept = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
lock = threading.Lock()


def talk(connection):
    told = {"plain": [], "secret": [], "mail": None}
    try:
        is_secret = mode == "implicit"
        if is_secret:
            connection = context.wrap_socket(connection, server_side=True)
        stream = connection.makefile("rwb", buffering=0)

        def say(text):
            stream.write(text.encode() + b"\r\n")

        say("220 test ESMTP")
        while line := stream.readline():
            text = line.decode().rstrip("\r\n")
            told["secret" if is_secret else "plain"].append(text)
            word = text[:4].upper()
            if word == "EHLO":
                say("250-test")
                say("250-AUTH PLAIN LOGIN" if is_secret else "250-STARTTLS")
                say("250 8BITMIME")
            elif word == "STAR" and not is_secret:
                say("220 go on")
                connection = context.wrap_socket(connection, server_side=True)
                stream = connection.makefile("rwb", buffering=0)
                is_secret = True
            elif word == "QUIT":
                say("221 bye")
                break
            elif not is_secret:
                say("530 STARTTLS first")
            elif word == "AUTH":
                say("235 welcome")
            elif word == "DATA":
                say("354 go on")
                mail = b""
                while (line := stream.readline()) != b".\r\n":
                    mail += line
                told["mail"] = mail.decode()
                say("250 taken")
            else:
                say("250 OK")
    except (OSError, ssl.SSLError) as error:
        told["error"] = str(error)
    finally:
        connection.close()
    with lock, open(kept, "a", encoding="utf-8") as file:
        file.write(json.dumps(told) + "\n")


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    accepted, _ = listener.accept()
    threading.Thread(target=talk, args=(accepted,), daemon=True).start()
