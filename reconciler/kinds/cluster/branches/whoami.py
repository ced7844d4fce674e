"""The chart `whoami`: a page that says who answered, to see that a cluster, its branch and its route work. Pure.

Release name, image tag, pull policy, host and ingress class are parameters that an ApplicationSet may set. The chart
has no Namespace: whoever deploys it makes that, and of one object with two owners Argo CD never stops warning.
"""

from __future__ import annotations

import json

IMAGE = "traefik/whoami"
TAG = "v1.10.2"


def chart_files(cluster: str, host: str, ingress_class: str) -> dict[str, str]:
    """The chart's files by path. Values are written as JSON strings, which YAML reads as what they are."""
    values = _VALUES.replace("@host@", json.dumps(host)).replace("@class@", json.dumps(ingress_class))
    return {
        "Chart.yaml": _CHART,
        "README.md": _README.replace("@cluster@", cluster),
        "templates/deployment.yaml": _TEMPLATE,
        "values.yaml": values.replace("@image@", json.dumps(IMAGE)).replace("@tag@", json.dumps(TAG)),
    }


_CHART = """\
apiVersion: v2
name: whoami
description: A page that says who answered
type: application
version: 0.1.0
appVersion: "1.10.2"
"""

_VALUES = """\
replicaCount: 1

image:
  repository: @image@
  tag: @tag@
  pullPolicy: IfNotPresent

service:
  type: ClusterIP
  port: 80

ingress:
  className: @class@
  host: @host@

resources:
  limits:
    cpu: 100m
    memory: 64Mi
  requests:
    cpu: 50m
    memory: 32Mi
"""

_TEMPLATE = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  labels:
    app: {{ .Release.Name }}
spec:
  replicas: {{ .Values.replicaCount }}
  selector:
    matchLabels:
      app: {{ .Release.Name }}
  template:
    metadata:
      labels:
        app: {{ .Release.Name }}
    spec:
      containers:
        - name: whoami
          image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
          imagePullPolicy: {{ .Values.image.pullPolicy }}
          ports:
            - name: http
              containerPort: 80
          livenessProbe:
            httpGet:
              path: /health
              port: http
          readinessProbe:
            httpGet:
              path: /health
              port: http
          resources:
{{ toYaml .Values.resources | indent 12 }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ .Release.Name }}
  labels:
    app: {{ .Release.Name }}
spec:
  type: {{ .Values.service.type }}
  selector:
    app: {{ .Release.Name }}
  ports:
    - name: http
      port: {{ .Values.service.port }}
      targetPort: http
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ .Release.Name }}
  labels:
    app: {{ .Release.Name }}
spec:
  ingressClassName: {{ .Values.ingress.className }}
  rules:
    - host: {{ .Values.ingress.host | quote }}
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: {{ .Release.Name }}
                port:
                  name: http
"""

_README = """\
# whoami on @cluster@

This folder is kept by `reconciler` as long as the cluster @cluster@ is there: what is changed in its files here is put
back. Change the cluster's document instead.
"""
