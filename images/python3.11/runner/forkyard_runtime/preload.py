"""
Loads what handlers commonly import, so that it is in the checkpoint. Nothing here may keep randomness that `unique.py` does not
renew, a time, an address or an open file for later: therefore no `multiprocessing`, which draws a key when it is imported.
"""

import datetime
import decimal
import importlib
import json
import traceback

MODULES = """
abc argparse ast asyncio atexit base64 binascii bisect bz2 calendar codecs collections.abc concurrent.futures.thread
configparser contextlib contextvars copy csv ctypes ctypes.util dataclasses datetime decimal difflib email.message
email.mime.multipart email.mime.text email.parser email.policy email.utils encodings.ascii encodings.idna encodings.latin_1 enum
errno fnmatch fractions functools getpass glob gzip hashlib heapq hmac html.parser http.client http.cookies http.server
importlib.metadata importlib.resources inspect io ipaddress itertools json keyword linecache locale logging.config
logging.handlers lzma math mimetypes numbers operator os pathlib pickle pkgutil platform posixpath pprint queue quopri random re
secrets select selectors shlex shutil signal socket sqlite3 ssl stat statistics string struct subprocess sys tarfile tempfile
textwrap threading time timeit tokenize traceback types typing unicodedata urllib.error urllib.parse urllib.request uuid warnings
weakref xml.dom.minidom xml.etree.ElementTree xml.sax zipfile zlib zoneinfo _strptime
""".split()


def preload() -> None:
    for name in MODULES:
        importlib.import_module(name)
    # So that the builder's comparison of clones tests the reseeding: a generator that nobody used yet seeds itself in the clone.
    import ssl

    ssl.RAND_bytes(16)
    # Paths that each invocation goes through.
    json.loads(json.dumps({"a": [1, 2.5, None, "ä"]}))
    datetime.datetime.strptime("2024-01-01", "%Y-%m-%d")
    str(decimal.Decimal("1.1"))
    try:
        raise ValueError("warm-up")
    except ValueError as error:
        traceback.format_list(traceback.extract_tb(error.__traceback__))
