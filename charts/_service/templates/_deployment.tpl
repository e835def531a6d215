{{- define "corkboard.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "corkboard.fullname" . }}
  labels: {{- include "corkboard.labels" . | nindent 4 }}
spec:
  {{- if not .Values.autoscaling.enabled }}
  replicas: {{ .Values.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  strategy:
    {{- if .Values.persistence.enabled }}
    type: Recreate
    {{- else }}
    type: RollingUpdate
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
    {{- end }}
  selector:
    matchLabels: {{- include "corkboard.selector" . | nindent 6 }}
  template:
    metadata:
      labels: {{- include "corkboard.labels" . | nindent 8 }}
      annotations:
        checksum/config: {{ include "corkboard.configMap" . | sha256sum }}
        {{- with .Values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec: {{- include "corkboard.podSpec" . | nindent 6 }}
{{- end -}}

{{- define "corkboard.podSpec" -}}
serviceAccountName: {{ include "corkboard.fullname" . }}
automountServiceAccountToken: {{ .Values.serviceAccount.automountToken }}
enableServiceLinks: false  # its variables would be taken for unknown settings
# The door closes, calls finish, offsets are committed; only then may the pod be killed.
terminationGracePeriodSeconds: {{ add .Values.preStopSeconds .Values.drainSeconds 15 }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
nodeSelector:
  topology.kubernetes.io/zone: {{ include "corkboard.zone" . }}
  {{- with .Values.nodeSelector }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: DoNotSchedule
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels: {{- include "corkboard.selector" . | nindent 8 }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels: {{- include "corkboard.selector" . | nindent 8 }}
containers:
  - name: {{ .Chart.Name }}
    image: {{ include "corkboard.image" . }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    envFrom: [{configMapRef: {name: {{ include "corkboard.fullname" . }}}}]
    env: {{- include "corkboard.env" . | nindent 6 }}
    ports:
      - {name: grpc, containerPort: {{ .Values.ports.grpc }}}
      - {name: admin, containerPort: {{ .Values.ports.admin }}}
    startupProbe:  # all probes ask the admin port: the kubelet has no certificate for the other
      httpGet: {path: /readyz, port: admin}
      periodSeconds: 2
      failureThreshold: {{ div (int .Values.startupSeconds) 2 }}
    readinessProbe:
      httpGet: {path: /readyz, port: admin}
      periodSeconds: 2
      timeoutSeconds: 2
      failureThreshold: 2
    livenessProbe:  # a process that waits for a peer is not ready, and still alive
      httpGet: {path: /healthz, port: admin}
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 6
    lifecycle:  # endpoints forget this pod first, then SIGTERM drains it
      preStop: {sleep: {seconds: {{ .Values.preStopSeconds }}}}
    resources: {{- toYaml .Values.resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    volumeMounts:
      - {name: state, mountPath: /var/lib/corkboard}
      - {name: tmp, mountPath: /tmp}
      {{- if .Values.global.tls.enabled }}
      - {name: tls, mountPath: /etc/corkboard/tls, readOnly: true}
      {{- end }}
      {{- include "corkboard.serverMounts" . | nindent 6 }}
      {{- if .Values.global.bundlesVolume }}
      - {name: bundles, mountPath: /bundles, readOnly: true}
      {{- end }}
      {{- range $name, $_ := .Values.files }}
      - {name: file-{{ $name }}, mountPath: /etc/corkboard/files/{{ $name }}, readOnly: true}
      {{- end }}
volumes:
  - name: tmp
    emptyDir: {}
  - name: state
    {{- if .Values.persistence.enabled }}
    persistentVolumeClaim: {claimName: {{ include "corkboard.fullname" . }}}
    {{- else }}
    emptyDir: {}
    {{- end }}
  {{- if .Values.global.tls.enabled }}
  {{- include "corkboard.tlsVolume" . | nindent 2 }}
  {{- end }}
  {{- include "corkboard.serverVolumes" . | nindent 2 }}
  {{- with .Values.global.bundlesVolume }}
  - name: bundles
    {{- toYaml . | replace "{zone}" (include "corkboard.zone" $) | nindent 4 }}
  {{- end }}
  {{- range $name, $source := .Values.files }}
  - name: file-{{ $name }}
    {{- toYaml $source | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "corkboard.env" -}}
- name: {{ .Values.envPrefix }}_INSTANCE
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- range $field, $secret := .Values.secrets }}
- name: {{ printf "%s_%s" $.Values.envPrefix (upper $field) }}
  valueFrom: {secretKeyRef: {name: {{ $secret.name }}, key: {{ $secret.key }}}}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
