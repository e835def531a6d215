{{- define "corkboard.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "corkboard.fullname" . }}
  labels: {{- include "corkboard.labels" . | nindent 4 }}
  {{- with .Values.serviceAccount.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: {{ .Values.serviceAccount.automountToken }}
{{- end -}}

{{- define "corkboard.claim" -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ include "corkboard.fullname" . }}
  labels: {{- include "corkboard.labels" . | nindent 4 }}
spec:
  accessModes: [ReadWriteOnce]
  {{- with .Values.persistence.storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources: {requests: {storage: {{ .Values.persistence.size }}}}
{{- end -}}

{{- define "corkboard.serviceMonitor" -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: {{ include "corkboard.fullname" . }}
  labels: {{- include "corkboard.labels" . | nindent 4 }}
spec:
  selector:
    matchLabels: {{- include "corkboard.selector" . | nindent 6 }}
  endpoints: [{port: admin, path: /metrics, interval: 15s}]
  targetLabels: [app.kubernetes.io/name, corkboard.dev/zone]
{{- end -}}

{{/* `helm test`: the service answers its own health check from another pod. */}}
{{- define "corkboard.test" -}}
apiVersion: v1
kind: Pod
metadata:
  name: {{ include "corkboard.fullname" . }}-test
  labels:
    app.kubernetes.io/part-of: corkboard
    corkboard.dev/role: test
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext: {runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001, fsGroup: 10001, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: health
      image: {{ include "corkboard.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      command: [python, -m, chassis.grpc.probe]
      args: ["{{ include "corkboard.fullname" . }}:{{ .Values.ports.grpc }}"{{ if .Values.global.tls.enabled }}, /etc/corkboard/tls{{ end }}]
      resources: {requests: {cpu: 50m, memory: 128Mi}, limits: {memory: 128Mi}}
      securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
      {{- if .Values.global.tls.enabled }}
      volumeMounts: [{name: tls, mountPath: /etc/corkboard/tls, readOnly: true}]
  volumes: {{- include "corkboard.tlsVolume" . | nindent 4 }}
  {{- end }}
{{- end -}}
