{{/* The InferenceService without a version: what `cnn-image deploy` completes with the promoted version's storageUri. */}}
{{- define "cnn-image.inferenceService" -}}
{{- $serving := .Values.serving }}{{ $collocated := eq $serving.mode "collocated" }}{{ $model := include "cnn-image.model" . -}}
{{- if lt (int $serving.terminationGraceSeconds) (add 10 $serving.drainSeconds | int) }}
{{- fail "serving.terminationGraceSeconds must be at least 10 more than serving.drainSeconds: a pod first answers for drainSeconds, then finishes what it has begun." }}
{{- end -}}
{{- /* Both containers of one pod are told to end at once. Triton goes on for the two seconds in which the transformer
       sends its clients away, and for the longest call after them. */}}
{{- $tritonDrain := $collocated | ternary (add $serving.drainSeconds 5) $serving.drainSeconds }}
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {{ $model }}
  # KServe copies these to the pods: nothing here may change from release to release.
  labels:
    app.kubernetes.io/name: {{ $model }}
  annotations:
    serving.kserve.io/deploymentMode: Standard
    serving.kserve.io/autoscalerClass: {{ or $serving.triton.autoscaling.enabled (and (not $collocated) $serving.transformer.autoscaling.enabled) | ternary "hpa" "none" }}
spec:
  predictor:
    {{- include "cnn-image.component" (dict "root" $ "values" $serving.triton "component" ($collocated | ternary "transformer" "predictor") "metricsPort" ($collocated | ternary 8080 8002)) | nindent 4 }}
    serviceAccountName: {{ $model }}-predictor
    automountServiceAccountToken: {{ and $collocated $serving.trainApi.enabled }}
    model:
      modelFormat: {name: triton}
      runtime: {{ $model }}-triton
      protocolVersion: v2
      image: {{ include "cnn-image.image" (list $ .Values.image.triton) }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      terminationMessagePolicy: FallbackToLogsOnError
      {{- include "cnn-image.tritonCommand" . | nindent 6 }}
      args:
        {{- include "cnn-image.tritonArgs" . | nindent 8 }}
        - --exit-timeout-secs={{ sub $serving.terminationGraceSeconds (add $tritonDrain 2) }}
      ports:
        - {name: http, containerPort: 8000, protocol: TCP}
        - {name: grpc, containerPort: 8001, protocol: TCP}
        - {name: metrics, containerPort: 8002, protocol: TCP}
      resources: {{- toYaml $serving.triton.resources | nindent 8 }}
      # The model is on the disk by then; loading it takes seconds, the first start of a GPU a minute.
      startupProbe:
        httpGet: {path: /v2/models/{{ $model }}/ready, port: 8000}
        periodSeconds: 2
        failureThreshold: 120
        timeoutSeconds: 2
      readinessProbe:
        httpGet: {path: /v2/models/{{ $model }}/ready, port: 8000}
        periodSeconds: 3
        failureThreshold: 2
        timeoutSeconds: 2
      livenessProbe:
        httpGet: {path: /v2/health/live, port: 8000}
        periodSeconds: 10
        failureThreshold: 6
        timeoutSeconds: 10
      lifecycle:
        preStop: {sleep: {seconds: {{ $tritonDrain }}}}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: shm, mountPath: /dev/shm}
    {{- if $collocated }}
    containers:
      - name: transformer-container
        {{- include "cnn-image.transformerContainer" (dict "root" $ "predictor" "localhost:8000") | nindent 8 }}
    {{- end }}
    volumes:
      - {name: tmp, emptyDir: {}}
      - {name: shm, emptyDir: {medium: Memory, sizeLimit: 256Mi}}
  {{- if not $collocated }}
  transformer:
    {{- include "cnn-image.component" (dict "root" $ "values" $serving.transformer "component" "transformer" "metricsPort" 8080) | nindent 4 }}
    serviceAccountName: {{ $model }}-transformer
    automountServiceAccountToken: {{ $serving.trainApi.enabled }}
    containers:
      - name: kserve-container
        {{- include "cnn-image.transformerContainer" (dict "root" $ "predictor" (printf "%s-predictor-pods:8000" $model)) | nindent 8 }}
    volumes:
      - {name: tmp, emptyDir: {}}
  {{- end }}
{{- end }}

{{/* What both components share. */}}
{{- define "cnn-image.component" -}}
{{- $root := .root }}{{ $values := .values -}}
{{- if $values.autoscaling.enabled -}}
minReplicas: {{ $values.autoscaling.minReplicas }}
maxReplicas: {{ $values.autoscaling.maxReplicas }}
scaleMetric: cpu
scaleTarget: {{ $values.autoscaling.targetCPUPercent }}
{{- else -}}
minReplicas: {{ $values.replicas }}
maxReplicas: {{ $values.replicas }}
{{- end }}
deploymentStrategy:
  type: RollingUpdate
  rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
labels:
  app.kubernetes.io/component: {{ .component }}
{{- if $root.Values.monitoring.annotations }}
annotations:
  prometheus.io/scrape: "true"
  prometheus.io/port: {{ .metricsPort | quote }}
  prometheus.io/path: /metrics
{{- end }}
enableServiceLinks: false # the Service cnn-image would set CNN_IMAGE_PORT
terminationGracePeriodSeconds: {{ $root.Values.serving.terminationGraceSeconds }}
{{- include "cnn-image.pullSecrets" $root }}
securityContext:
  {{- include "cnn-image.podSecurity" $root | nindent 2 }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $values.affinity }}
affinity: {{- toYaml $values.affinity | nindent 2 }}
{{- else }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "cnn-image.selector" . | nindent 8 }}
{{- end }}
{{- end }}

{{/* The transformer's container: dict "root" $ "predictor" HOST:PORT. */}}
{{- define "cnn-image.transformerContainer" -}}
{{- $root := .root }}{{ $serving := $root.Values.serving -}}
image: {{ include "cnn-image.image" (list $root $root.Values.image.transformer) }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
terminationMessagePolicy: FallbackToLogsOnError
args:
  - --model_name={{ include "cnn-image.model" $root }}
  - --predictor_host={{ .predictor }}
  - --http_port=8080
  - --grpc_port=8081
securityContext:
  {{- include "cnn-image.containerSecurity" $root | nindent 2 }}
env:
  - {name: CNN_IMAGE_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
  - {name: HOME, value: /tmp}
  # What is left of the pod's time after preStop, less two seconds for the process to end.
  - {name: CNN_IMAGE_GRACE_SECONDS, value: {{ sub $serving.terminationGraceSeconds (add $serving.drainSeconds 2) | quote }}}
  {{- if $serving.trainApi.enabled }}
  - {name: CNN_IMAGE_TRAIN_API, value: "true"}
  - {name: CNN_IMAGE_TRAIN_TOKEN, valueFrom: {secretKeyRef: {name: {{ required "serving.trainApi.tokenSecret: name a Secret with the key `token`" $serving.trainApi.tokenSecret }}, key: token}}}
  {{- end }}
  {{- range $name, $value := $serving.transformer.env }}
  - {name: {{ $name }}, value: {{ $value | quote }}}
  {{- end }}
ports:
  - {name: http, containerPort: 8080, protocol: TCP}
  - {name: grpc, containerPort: 8081, protocol: TCP}
resources: {{- toYaml $serving.transformer.resources | nindent 2 }}
startupProbe:
  httpGet: {path: /v2/health/live, port: 8080}
  periodSeconds: 1
  failureThreshold: 60
  timeoutSeconds: 2
readinessProbe:
  httpGet: {path: /health, port: 8080}
  periodSeconds: 3
  failureThreshold: 2
  timeoutSeconds: 3
livenessProbe:
  httpGet: {path: /v2/health/live, port: 8080}
  periodSeconds: 10
  failureThreshold: 6
  timeoutSeconds: 5
lifecycle:
  preStop: {sleep: {seconds: {{ $serving.drainSeconds }}}}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
{{- end }}
