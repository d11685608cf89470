"""Kinds that users define: CustomResourceDefinitions become kinds like the built-in ones.

``controller.py`` follows the definitions, accepts their names and registers what they define;
``definition.py`` makes a kind out of a definition; ``schema_validation.py`` and
``defaulting.py`` are its rules, ``json_path.py`` reads what its columns show.
"""
