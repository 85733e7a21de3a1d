-- stops: undefined_object
DO LANGUAGE plpython3u 'import os';
