{{- define "corkboard.autoscaler" -}}
{{- if eq .Values.autoscaling.kind "lag" -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ include "corkboard.fullname" . }}
  labels: {{- include "corkboard.labels" . | nindent 4 }}
spec:
  scaleTargetRef: {name: {{ include "corkboard.fullname" . }}}
  minReplicaCount: {{ .Values.autoscaling.minReplicas }}
  maxReplicaCount: {{ .Values.autoscaling.maxReplicas }}
  cooldownPeriod: 300
  triggers:
    - type: kafka
      metadata:
        {{- /* KEDA asks from its own namespace: a name without dots is one of ours */}}
        bootstrapServers: {{ regexReplaceAll "(^|,)([^.:,]+):" .Values.global.kafkaBootstrap (printf "${1}${2}.%s.svc:" .Release.Namespace) }}
        consumerGroup: {{ tpl .Values.autoscaling.lag.group . }}
        topic: {{ .Values.autoscaling.lag.topic }}
        lagThreshold: {{ .Values.autoscaling.lag.records | quote }}
        allowIdleConsumers: "false"
        {{- if hasSuffix "SSL" .Values.global.kafka.protocol }}
        tls: enable
        {{- end }}
      {{- with .Values.autoscaling.lag.authentication }}
      authenticationRef: {name: {{ . }}}
      {{- end }}
{{- else -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "corkboard.fullname" . }}
  labels: {{- include "corkboard.labels" . | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ include "corkboard.fullname" . }}}
  minReplicas: {{ .Values.autoscaling.minReplicas }}
  maxReplicas: {{ .Values.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: {{ .Values.autoscaling.cpuUtilization }}}}
  behavior:
    scaleDown: {stabilizationWindowSeconds: 300}
{{- end -}}
{{- end -}}

{{- define "corkboard.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "corkboard.fullname" . }}
  labels: {{- include "corkboard.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "corkboard.selector" . | nindent 6 }}
{{- end -}}
