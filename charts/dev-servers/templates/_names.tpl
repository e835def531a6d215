{{- define "dev.labels" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: corkboard
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* dev.image (list root name image) */}}
{{- define "dev.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 2 -}}
{{- $name := $image.repository | default (index . 1) -}}
{{- with $root.Values.global.imageRegistry }}{{ . }}/{{ end }}{{ $name }}:{{ coalesce $image.tag $root.Values.global.imageTag $root.Chart.AppVersion }}
{{- end -}}

{{- define "dev.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "dev.container" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}
