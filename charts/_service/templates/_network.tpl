{{- define "corkboard.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "corkboard.fullname" . }}
  labels: {{- include "corkboard.labels" . | nindent 4 }}
spec:
  clusterIP: None  # clients see every pod and pick for themselves
  selector: {{- include "corkboard.selector" . | nindent 4 }}
  ports:
    - {name: grpc, port: {{ .Values.ports.grpc }}, targetPort: grpc, appProtocol: {{ ternary "https" "kubernetes.io/h2c" .Values.global.tls.enabled }}}
    - {name: admin, port: {{ .Values.ports.admin }}, targetPort: admin}
{{- end -}}

{{- define "corkboard.networkPolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "corkboard.fullname" . }}
  labels: {{- include "corkboard.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- include "corkboard.selector" . | nindent 6 }}
  policyTypes: [Ingress]
  ingress:
    - ports: [{port: grpc}]
      {{- if .Values.callers }}
      from:
        {{- range .Values.callers }}
        - podSelector: {matchLabels: {app.kubernetes.io/name: {{ . }}}}
        {{- end }}
        - podSelector: {matchLabels: {corkboard.dev/role: test}}
      {{- else }}
      from: [{podSelector: {}}]
      {{- end }}
    - ports: [{port: admin}]  # probes and scrapers; it only reads
{{- end -}}
