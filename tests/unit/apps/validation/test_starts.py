"""How the python template finds out what it is to start."""

from __future__ import annotations

import pytest

from ikoma.apps.templates.python.config.start import command, find

MANAGE = 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")\n'
APPLICATION = "application = get_wsgi_application()\n"
DJANGO = {"manage.py": MANAGE, "shop/__init__.py": "", "shop/settings.py": "", "shop/wsgi.py": APPLICATION}
FASTAPI = "from fastapi import FastAPI\n\napp = FastAPI()\n"
FLASK = "from flask import Flask\napp = Flask(__name__)\n"
FACTORY = "from flask import Flask\n\ndef create_app(config=None):\n    return Flask(__name__)\n"
LISTENS = 'run(host="0.0.0.0", port=int(os.environ["PORT"]))\n'


def started(files: dict[str, str], *installed: str) -> str:
    found = find(files)
    assert found is not None
    words = command(found, "3000", installed.__contains__)
    return "nothing" if words is None else " ".join(words)


@pytest.mark.parametrize(
    ("files", "installed", "words"),
    [
        (DJANGO, "django gunicorn", "python -m gunicorn --bind 0.0.0.0:3000 --threads 4 shop.wsgi:application"),
        (DJANGO, "django waitress", "python -m waitress --listen=0.0.0.0:3000 shop.wsgi:application"),
        (DJANGO, "django", "python manage.py runserver --noreload 0.0.0.0:3000"),
        (
            {**DJANGO, "shop/asgi.py": ""},
            "django uvicorn",
            "python -m uvicorn --host 0.0.0.0 --port 3000 shop.asgi:application",
        ),
        (
            {**DJANGO, "shop/asgi.py": ""},
            "django gunicorn channels daphne",
            "python -m daphne -b 0.0.0.0 -p 3000 shop.asgi:application",
        ),
        ({"main.py": FASTAPI}, "uvicorn", "python -m uvicorn --host 0.0.0.0 --port 3000 main:app"),
        ({"main.py": FASTAPI}, "hypercorn", "python -m hypercorn --bind 0.0.0.0:3000 main:app"),
        ({"main.py": FASTAPI}, "", "nothing"),
        (
            {"app/main.py": FASTAPI, "app/__init__.py": ""},
            "uvicorn",
            "python -m uvicorn --host 0.0.0.0 --port 3000 app.main:app",
        ),
        (
            {"main.py": "api: FastAPI = fastapi.FastAPI(title='x')\n"},
            "uvicorn",
            "python -m uvicorn --host 0.0.0.0 --port 3000 main:api",
        ),
        ({"app.py": FLASK}, "flask gunicorn", "python -m gunicorn --bind 0.0.0.0:3000 --threads 4 app:app"),
        ({"app.py": FLASK}, "flask", "python -m flask --app app:app run --host 0.0.0.0 --port 3000"),
        (
            {"app.py": FLASK + "if __name__ == '__main__':\n    app.run(debug=True)\n"},
            "flask gunicorn",
            "python -m gunicorn --bind 0.0.0.0:3000 --threads 4 app:app",
        ),
        (
            {"shop/__init__.py": FACTORY},
            "flask gunicorn",
            "python -m gunicorn --bind 0.0.0.0:3000 --threads 4 shop:create_app()",
        ),
        (
            {"shop/__init__.py": FACTORY},
            "flask waitress",
            "python -m waitress --listen=0.0.0.0:3000 --call shop:create_app",
        ),
        (
            {"wsgi.py": "from shop import create_app\napp = create_app()\n", "shop/__init__.py": FACTORY},
            "flask gunicorn",
            "python -m gunicorn --bind 0.0.0.0:3000 --threads 4 wsgi:app",
        ),
        ({"main.py": FASTAPI + LISTENS}, "uvicorn", "python main.py"),
        (
            {"main.py": FASTAPI + 'PORT = os.environ["PORT"]\nALLOWED = ["0.0.0.0"]\n'},
            "uvicorn",
            "python -m uvicorn --host 0.0.0.0 --port 3000 main:app",
        ),
        ({"server.py": "print('no framework')\n"}, "", "python server.py"),
        ({"Procfile": "release: true\nweb: A=1 serve\n"}, "", "sh -c A=1 serve"),
        (
            {"main.py": FASTAPI, "Procfile": "web: uvicorn main:app --port $PORT\n"},
            "uvicorn",
            "sh -c exec uvicorn main:app --port $PORT",
        ),
    ],
)
def test_what_is_found_is_started(files: dict[str, str], installed: str, words: str) -> None:
    assert started(files, *installed.split()) == words


def test_a_django_project_in_a_folder_is_started_there() -> None:
    found = find({f"backend/{path}": text for path, text in DJANGO.items()})
    assert found is not None
    assert (found.folder, found.target) == ("backend", "shop.wsgi:application")


@pytest.mark.parametrize("files", [{}, {"notes.py": "x = 1\n"}, {"tests/app.txt": FLASK}])
def test_what_is_nothing_to_start_is_not_guessed(files: dict[str, str]) -> None:
    assert find(files) is None
