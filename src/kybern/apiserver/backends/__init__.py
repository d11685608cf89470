"""What the API server connects to on behalf of clients: kubelets, pods and services.

``exchange.py`` sends one HTTP request and gives the answer back as a response (or the upgraded
connection), ``kubelets.py`` and ``targets.py`` know where to send it.
"""
