{{/* Names, labels, image and ports that the other templates share. */}}

{{- define "corkboard.zone" -}}{{ required "global.zone names the zone of this release" .Values.global.zone }}{{- end -}}

{{- define "corkboard.fullname" -}}{{ printf "%s-%s" .Chart.Name (include "corkboard.zone" .) | trunc 63 | trimSuffix "-" }}{{- end -}}

{{- define "corkboard.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
corkboard.dev/zone: {{ include "corkboard.zone" . }}
{{- end -}}

{{- define "corkboard.labels" -}}
{{ include "corkboard.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: corkboard
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "corkboard.image" -}}
{{- $name := default (printf "corkboard-%s" .Values.service) .Values.image.repository -}}
{{- $path := ternary (printf "%s/%s" .Values.global.imageRegistry $name) $name (ne .Values.global.imageRegistry "") -}}
{{- if .Values.image.digest -}}
{{ $path }}@{{ .Values.image.digest }}
{{- else -}}
{{- $tag := coalesce .Values.image.tag .Values.global.imageTag .Chart.AppVersion -}}
{{- if eq $tag "latest" }}{{ fail "image.tag is latest: name a version, so that a rollback is one" }}{{ end -}}
{{ $path }}:{{ $tag }}
{{- end -}}
{{- end -}}

{{/* Addresses of a peer in every zone, each with its zone: what a *_target setting takes. */}}
{{- define "corkboard.target" -}}
{{- $root := index . 0 -}}{{- $peer := index . 1 -}}
{{- $addresses := list -}}
{{- range $root.Values.global.zones -}}
{{- $addresses = append $addresses (printf "%s-%s.%s.svc.cluster.local:%v@%s" $peer.app . $root.Release.Namespace $peer.port .) -}}
{{- end -}}
{{- join "," $addresses -}}
{{- end -}}
