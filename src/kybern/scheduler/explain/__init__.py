"""Why a pod is where it is, or nowhere: for people, beside the decisions and never in their way.

``verdicts.py`` keeps what cannot be found out later (the scores of a decision); all else is found
when it is asked for: ``explainer.py`` writes a pod's explanation from the live columns,
``rejections.py`` says which plugin turned down which nodes and what the closest ones lack,
``candidates.py`` has the scores by plugin, ``advice.py`` what would help. ``publisher.py`` carries
explanations to the API server as PodExplanation objects of ``explain.kybern.io``.
"""
