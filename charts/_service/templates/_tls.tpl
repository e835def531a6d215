{{/* The workload's certificate: who it is (a SPIFFE ID, the same in every zone) and what it is called as (DNS names). */}}
{{- define "corkboard.tlsSecret" -}}
{{ .Values.tls.existingSecret | default (printf "%s-tls" (include "corkboard.fullname" .)) }}
{{- end -}}

{{- define "corkboard.identityPrefix" -}}
{{ printf "spiffe://%s/ns/%s/sa/" .Values.global.tls.trustDomain .Release.Namespace }}
{{- end -}}

{{- define "corkboard.certificate" -}}
{{- $name := include "corkboard.fullname" . -}}
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: {{ $name }}
  labels: {{- include "corkboard.labels" . | nindent 4 }}
spec:
  secretName: {{ include "corkboard.tlsSecret" . }}
  duration: {{ .Values.global.tls.duration }}
  renewBefore: {{ .Values.global.tls.renewBefore }}
  privateKey: {algorithm: ECDSA, size: 256, rotationPolicy: Always}
  usages: [digital signature, server auth, client auth]
  uris: ["{{ include "corkboard.identityPrefix" . }}{{ .Chart.Name }}"]
  dnsNames:
    - {{ $name }}
    - {{ printf "%s.%s" $name .Release.Namespace }}
    - {{ printf "%s.%s.svc" $name .Release.Namespace }}
    - {{ printf "%s.%s.svc.cluster.local" $name .Release.Namespace }}
  issuerRef: {{- toYaml .Values.global.tls.issuer | nindent 4 }}
{{- end -}}

{{/* Files tls.crt, tls.key, ca.crt. The kubelet brings changes into running pods, and processes look for them. */}}
{{- define "corkboard.tlsVolume" -}}
{{- $bundle := .Values.global.tls.trustBundle -}}
- name: tls
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ include "corkboard.tlsSecret" . }}
          items:
            - {key: tls.crt, path: tls.crt}
            - {key: tls.key, path: tls.key}
            {{- if not $bundle.configMap }}
            - {key: ca.crt, path: ca.crt}
            {{- end }}
      {{- if $bundle.configMap }}
      - configMap: {name: {{ $bundle.configMap }}, items: [{key: {{ $bundle.key | default "ca.crt" }}, path: ca.crt}]}
      {{- end }}
{{- end -}}
