{{/* Everything a service is deployed as. A service's chart includes this and nothing else. */}}
{{- define "corkboard.all" -}}
{{ include "corkboard.serviceAccount" . }}
---
{{ include "corkboard.configMap" . }}
{{- if and .Values.global.tls.enabled .Values.global.tls.certManager (not .Values.tls.existingSecret) }}
---
{{ include "corkboard.certificate" . }}
{{- end }}
---
{{ include "corkboard.deployment" . }}
---
{{ include "corkboard.service" . }}
---
{{ include "corkboard.disruptionBudget" . }}
---
{{ include "corkboard.networkPolicy" . }}
{{- if .Values.autoscaling.enabled }}
---
{{ include "corkboard.autoscaler" . }}
{{- end }}
{{- if .Values.persistence.enabled }}
---
{{ include "corkboard.claim" . }}
{{- end }}
{{- if .Values.global.monitoring }}
---
{{ include "corkboard.serviceMonitor" . }}
{{- end }}
---
{{ include "corkboard.test" . }}
{{- end -}}
