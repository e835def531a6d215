{{/* Settings: those that follow from the zone and the peers, then .Values.config, which wins. */}}
{{- define "corkboard.settings" -}}
{{- $all := dict
  "grpc_host" "0.0.0.0"
  "grpc_port" .Values.ports.grpc
  "admin_host" "0.0.0.0"
  "admin_port" .Values.ports.admin
  "zone" (include "corkboard.zone" .)
  "kafka_bootstrap" .Values.global.kafkaBootstrap
  "otlp_endpoint" .Values.global.otlpEndpoint
  "bundles_uri" .Values.global.bundlesUri
  "state_dir" "/var/lib/corkboard/state"
  "reflection_enabled" false
  "drain_s" .Values.drainSeconds
  "tls_enabled" .Values.global.tls.enabled
  "plaintext_enabled" (not .Values.global.tls.enabled) -}}
{{- if .Values.global.tls.enabled -}}
{{- $_ := set $all "tls_cert_path" "/etc/corkboard/tls/tls.crt" -}}
{{- $_ := set $all "tls_key_path" "/etc/corkboard/tls/tls.key" -}}
{{- $_ := set $all "tls_ca_path" "/etc/corkboard/tls/ca.crt" -}}
{{- $_ := set $all "tls_identity_prefix" (include "corkboard.identityPrefix" .) -}}
{{- $_ := set $all "tls_aliases" (join "," .Values.global.tls.aliases) -}}
{{- end -}}
{{- if .Values.usesRedis -}}
{{- $_ := set $all "redis_url" (replace "{zone}" (include "corkboard.zone" .) .Values.global.redisUrl) -}}
{{- end -}}
{{- $all = merge $all (include "corkboard.serverSettings" . | fromYaml) -}}
{{- range $field, $peer := .Values.peers -}}
{{- $_ := set $all $field (include "corkboard.target" (list $ $peer)) -}}
{{- end -}}
{{- range $field, $value := .Values.config -}}{{- $_ := set $all $field $value -}}{{- end -}}
{{- range $field, $_ := .Values.secrets -}}{{- $_ := unset $all $field -}}{{- end -}}
{{- range $field, $value := $all }}
{{ printf "%s_%s" $.Values.envPrefix (upper $field) }}: {{ $value | toString | quote }}
{{- end -}}
{{- end -}}

{{- define "corkboard.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "corkboard.fullname" . }}
  labels: {{- include "corkboard.labels" . | nindent 4 }}
data: {{- include "corkboard.settings" . | nindent 2 }}
{{- end -}}
