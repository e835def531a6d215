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

{{/* What the call graph allows, and nothing else, both ways. Pods from outside say who they are by a label. */}}
{{- define "corkboard.networkPolicy" -}}
{{- $me := get (include "corkboard.graph" . | fromYaml) .Chart.Name -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "corkboard.fullname" . }}
  labels: {{- include "corkboard.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- include "corkboard.selector" . | nindent 6 }}
  policyTypes: [Ingress{{ if .Values.global.network.egress }}, Egress{{ end }}]
  ingress:
    - ports: [{port: grpc}]
      from:
        {{- range $me.calledBy }}
        - podSelector: {matchLabels: {{ include "corkboard.callerLabels" . }}}
        {{- end }}
        - podSelector: {matchLabels: {corkboard.dev/role: test}}
        {{- with .Values.network.from }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    - ports: [{port: admin}]  # it only reads; the kubelet's probes come through any policy
      from: {{- toYaml .Values.global.network.scrapers | nindent 8 }}
  {{- if .Values.global.network.egress }}
  egress:
    - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
    {{- range $peer := .Values.peers }}
    - to: [{podSelector: {matchLabels: {app.kubernetes.io/name: {{ $peer.app }}}}}]
      ports: [{port: {{ $peer.port }}}]
    {{- end }}
    - ports: {{ include "corkboard.serverPorts" . | fromYamlArray | toJson }}
    {{- with .Values.network.to }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* Workloads by the name of their chart, everybody else by the label that their owner puts on them. */}}
{{- define "corkboard.callerLabels" -}}
{{- if has . (list "surface" "content" "people" "jobs") -}}
{corkboard.dev/identity: {{ . }}}
{{- else -}}
{app.kubernetes.io/name: {{ . }}}
{{- end -}}
{{- end -}}

{{/* Ports of Kafka, of the online store, of the receiver of traces, of an object store, of the Kubernetes API. */}}
{{- define "corkboard.serverPorts" -}}
{{- $urls := splitList "," .Values.global.kafkaBootstrap -}}
{{- if .Values.usesRedis }}{{ $urls = append $urls (regexReplaceAll "/[0-9]*$" .Values.global.redisUrl "") }}{{ end -}}
{{- with .Values.global.otlpEndpoint }}{{ $urls = append $urls (trimSuffix "/" .) }}{{ end -}}
{{- $ports := list -}}
{{- range $urls }}{{ $ports = append $ports (regexFind "[0-9]+$" . | int) }}{{ end -}}
{{- if not (hasPrefix "file:" .Values.global.bundlesUri) }}{{ $ports = append $ports 443 }}{{ end -}}
{{- if .Values.serviceAccount.automountToken }}{{ $ports = concat $ports (list 443 6443) }}{{ end -}}
{{- range $ports | uniq }}
- {port: {{ . }}}
{{- end -}}
{{- end -}}
