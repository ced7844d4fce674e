"""Registering a cluster with Argo CD: what the attachment `attachments/argocd.py` is about.

account       the service account in the cluster itself, and its token
registration  the Secret that Argo CD reads, in the management cluster
place         in which cluster and namespace Argo CD is
"""
