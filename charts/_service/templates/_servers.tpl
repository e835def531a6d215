{{/* How the pod proves who it is to Kafka and to its Redis: settings, and the files behind them. */}}
{{- define "corkboard.serverSettings" -}}
{{- $kafka := .Values.global.kafka -}}
{{- $all := dict "kafka_security_protocol" $kafka.protocol -}}
{{- if hasSuffix "SSL" $kafka.protocol }}{{ $_ := set $all "kafka_ca_path" "/etc/corkboard/kafka/ca.crt" }}{{ end -}}
{{- if eq $kafka.protocol "SSL" -}}
{{- $_ := set $all "kafka_cert_path" "/etc/corkboard/kafka/user.crt" -}}
{{- $_ := set $all "kafka_key_path" "/etc/corkboard/kafka/user.key" -}}
{{- end -}}
{{- if hasPrefix "SASL" $kafka.protocol -}}
{{- $_ := set $all "kafka_sasl_mechanism" $kafka.mechanism -}}
{{- $_ := set $all "kafka_sasl_username" .Chart.Name -}}
{{- $_ := set $all "kafka_password_path" "/etc/corkboard/kafka/password" -}}
{{- end -}}
{{- if and .Values.usesRedis .Values.redis.secret -}}
{{- $_ := set $all "redis_username" .Values.global.redis.username -}}
{{- $_ := set $all "redis_password_path" "/etc/corkboard/redis/password" -}}
{{- end -}}
{{- if and .Values.usesRedis .Values.global.redis.caSecret }}{{ $_ := set $all "redis_ca_path" "/etc/corkboard/redis/ca.crt" }}{{ end -}}
{{- toYaml $all -}}
{{- end -}}

{{- define "corkboard.serverMounts" -}}
{{- if ne .Values.global.kafka.protocol "PLAINTEXT" }}
- {name: kafka, mountPath: /etc/corkboard/kafka, readOnly: true}
{{- end }}
{{- if and .Values.usesRedis (or .Values.redis.secret .Values.global.redis.caSecret) }}
- {name: redis, mountPath: /etc/corkboard/redis, readOnly: true}
{{- end }}
{{- end -}}

{{- define "corkboard.serverVolumes" -}}
{{- $kafka := .Values.global.kafka -}}
{{- if ne $kafka.protocol "PLAINTEXT" }}
- name: kafka
  projected:
    defaultMode: 0440
    sources:
      {{- if hasSuffix "SSL" $kafka.protocol }}
      - secret: {name: {{ $kafka.caSecret }}, items: [{key: ca.crt, path: ca.crt}]}
      {{- end }}
      - secret:
          name: {{ .Values.kafka.secret | default .Chart.Name }}
          {{- if eq $kafka.protocol "SSL" }}
          items: [{key: user.crt, path: user.crt}, {key: user.key, path: user.key}]
          {{- else }}
          items: [{key: password, path: password}]
          {{- end }}
{{- end }}
{{- if and .Values.usesRedis (or .Values.redis.secret .Values.global.redis.caSecret) }}
- name: redis
  projected:
    defaultMode: 0440
    sources:
      {{- with .Values.global.redis.caSecret }}
      - secret: {name: {{ . }}, items: [{key: ca.crt, path: ca.crt}]}
      {{- end }}
      {{- with .Values.redis.secret }}
      - secret: {name: {{ . }}, items: [{key: password, path: password}]}
      {{- end }}
{{- end }}
{{- end -}}
