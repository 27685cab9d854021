{{/* `helm upgrade --reuse-values` brings the values of an earlier chart: what was added since gets its default. Each file
     begins with this, since Helm promises no order of files. */}}
{{- define "cnn-image.complete" -}}
{{- include "cnn-image.fill" (list .Values (.Files.Get "files/added-values.yaml" | fromYaml)) }}
{{- end }}

{{- define "cnn-image.fill" -}}
{{- $values := index . 0 }}
{{- range $key, $default := index . 1 }}
{{- if not (hasKey $values $key) }}{{ $_ := set $values $key $default }}
{{- else if kindIs "map" $default }}{{ include "cnn-image.fill" (list (index $values $key) $default) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The model's name: of the InferenceService, and in front of every object's. KServe and the chart name Services after it, and
     a model that is called as another one's Service would take it away. */}}
{{- define "cnn-image.model" -}}
{{- $model := .Values.model }}
{{- range list "predictor" "predictor-pods" "transformer" "minio" "mlflow" }}
{{- if hasSuffix (printf "-%s" .) $model }}
{{- fail (printf "model: the name %q belongs to an object of the model %q; take one that does not end in -%s." $model (trimSuffix (printf "-%s" .) $model) .) }}
{{- end }}
{{- end }}
{{- if has $model (list "true" "false" "yes" "no" "on" "off" "y" "n" "null") }}
{{- fail (printf "model: YAML takes %q for something else than a name; take another one." $model) }}
{{- end }}
{{- $model }}
{{- end }}

{{/* What tells a process which model it works for; the default's need not be told, as in the charts before. */}}
{{- define "cnn-image.modelEnv" -}}
{{- $model := include "cnn-image.model" . }}
{{- if ne $model "cnn-image" -}}
- {name: CNN_IMAGE_MODEL, value: {{ $model }}}
{{- end }}
{{- end }}

{{/* Metadata of an object of the chart: dict "root" $ "name" NAME "component" COMPONENT; the model's name goes in front. */}}
{{- define "cnn-image.metadata" -}}
name: {{ include "cnn-image.model" .root }}{{ with .name }}-{{ . }}{{ end }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "cnn-image.labels" . | nindent 2 }}
{{- end }}

{{- define "cnn-image.labels" -}}
{{ include "cnn-image.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* What finds a component's pods: dict "root" $ "component" COMPONENT. Nothing in it changes with a release, so that no upgrade restarts a pod for it. */}}
{{- define "cnn-image.selector" -}}
app.kubernetes.io/name: {{ include "cnn-image.model" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* An image's full name: list $ IMAGE-VALUES. Those that we build take image.registry and image.tag. */}}
{{- define "cnn-image.image" -}}
{{- $root := index . 0 }}{{ $image := index . 1 }}
{{- $ours := hasPrefix "cnn-image" $image.repository }}
{{- $name := $image.repository }}
{{- if and $ours $root.Values.image.registry }}{{ $name = printf "%s/%s" (trimSuffix "/" $root.Values.image.registry) $name }}{{ end }}
{{- if $image.digest }}{{ $name }}@{{ $image.digest }}
{{- else }}{{ $name }}:{{ $image.tag | default $root.Values.image.tag | default $root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "cnn-image.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Pod security as `restricted` asks for it; the seccomp profile at pod level also covers containers injected later. */}}
{{- define "cnn-image.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "cnn-image.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "cnn-image.storeUrl" -}}
{{- if .Values.store.url }}{{ trimSuffix "/" .Values.store.url }}
{{- else if .Values.minio.enabled }}
{{- $model := include "cnn-image.model" . }}
{{- eq $model "cnn-image" | ternary "s3://cnn-image/store" (printf "s3://cnn-image/models/%s/store" $model) }}
{{- else }}{{ fail "store.url is empty: name an s3://bucket/prefix, or set minio.enabled=true to try it out." }}
{{- end }}
{{- end }}

{{- define "cnn-image.storeEndpoint" -}}
{{- if .Values.store.endpoint }}{{ .Values.store.endpoint }}
{{- else if .Values.minio.enabled }}http://{{ include "cnn-image.model" . }}-minio:9000
{{- end }}
{{- end }}

{{- define "cnn-image.storeSecret" -}}
{{- if .Values.store.secret }}{{ .Values.store.secret }}{{ else if .Values.minio.enabled }}{{ include "cnn-image.model" . }}-store{{ end }}
{{- end }}

{{- define "cnn-image.trackingUri" -}}
{{- if .Values.mlflow.trackingUri }}{{ .Values.mlflow.trackingUri }}
{{- else if .Values.mlflow.enabled }}http://{{ include "cnn-image.model" . }}-mlflow:5000
{{- end }}
{{- end }}

{{/* Environment that reaches the store and MLflow. */}}
{{- define "cnn-image.storeEnv" -}}
- {name: CNN_IMAGE_STORE, value: {{ include "cnn-image.storeUrl" . | quote }}}
- {name: AWS_DEFAULT_REGION, value: {{ .Values.store.region | quote }}}
{{- with include "cnn-image.storeEndpoint" . }}
- {name: AWS_ENDPOINT_URL, value: {{ . | quote }}}
{{- end }}
{{- with include "cnn-image.storeSecret" . }}
- {name: AWS_ACCESS_KEY_ID, valueFrom: {secretKeyRef: {name: {{ . }}, key: AWS_ACCESS_KEY_ID}}}
- {name: AWS_SECRET_ACCESS_KEY, valueFrom: {secretKeyRef: {name: {{ . }}, key: AWS_SECRET_ACCESS_KEY}}}
- {name: AWS_SESSION_TOKEN, valueFrom: {secretKeyRef: {name: {{ . }}, key: AWS_SESSION_TOKEN, optional: true}}}
{{- end }}
{{- with (.Values.store.encryption).algorithm }}
- {name: CNN_IMAGE_STORE_ENCRYPTION, value: {{ . | quote }}}
{{- end }}
{{- with (.Values.store.encryption).kmsKey }}
{{- if ne $.Values.store.encryption.algorithm "aws:kms" }}{{ fail "store.encryption.kmsKey goes with store.encryption.algorithm=aws:kms: set both." }}{{ end }}
- {name: CNN_IMAGE_STORE_KMS_KEY, value: {{ . | quote }}}
{{- end }}
{{- with .Values.store.caBundle.configMap }}
- {name: AWS_CA_BUNDLE, value: /etc/cnn-image/ca/{{ $.Values.store.caBundle.key }}}
{{- end }}
{{- with include "cnn-image.trackingUri" . }}
- {name: MLFLOW_TRACKING_URI, value: {{ . | quote }}}
{{- end }}
{{- if .Values.mlflow.secret }}
{{- range list "MLFLOW_TRACKING_USERNAME" "MLFLOW_TRACKING_PASSWORD" "MLFLOW_TRACKING_TOKEN" }}{{/* a user or a token; without either MLflow refuses, and that stops nothing */}}
- {name: {{ . }}, valueFrom: {secretKeyRef: {name: {{ $.Values.mlflow.secret }}, key: {{ . }}, optional: true}}}
{{- end }}
{{- end }}
{{- with (.Values.mlflow.caBundle).configMap }}
- {name: MLFLOW_TRACKING_SERVER_CERT_PATH, value: /etc/cnn-image/mlflow-ca/{{ $.Values.mlflow.caBundle.key }}}
{{- end }}
{{- end }}

{{/* The configuration of a version that fits Triton's resources. */}}
{{- define "cnn-image.variant" -}}
{{- $limits := (.Values.serving.triton.resources).limits | default dict }}
{{- $cpu := ($limits.cpu | default "4") | toString }}
{{- $cores := hasSuffix "m" $cpu | ternary (divf (float64 (trimSuffix "m" $cpu)) 1000.0) (float64 $cpu) }}
{{- if .Values.serving.triton.variant }}{{ .Values.serving.triton.variant }}
{{- else if hasKey $limits "nvidia.com/gpu" }}gpu
{{- else if ge $cores 4.0 }}cpu-4
{{- else if ge $cores 2.0 }}cpu-2
{{- else }}cpu-1
{{- end }}
{{- end }}

{{/* The pod that every job of ours runs in: dict "root" $ "args" ARGS "heavy" BOOL "first" BOOL "component" NAME.
     `heavy` is training's: its resources, data and workspace; `scoring` has resources of its own and asks Kubernetes nothing;
     `first` may run before the trial MinIO has a bucket. */}}
{{- define "cnn-image.jobPod" -}}
{{- $root := .root }}{{ $training := $root.Values.training }}{{ $scoring := $root.Values.scoring }}
{{- $placed := $training }}{{ if .scoring }}{{ $placed = $scoring }}{{ end }}
metadata:
  labels:
    {{- include "cnn-image.selector" . | nindent 4 }}
  annotations: {kubectl.kubernetes.io/default-container: cnn-image}
spec:
  serviceAccountName: {{ include "cnn-image.model" $root }}-jobs
  {{- if .scoring }}
  automountServiceAccountToken: false
  {{- end }}
  enableServiceLinks: false # the Service cnn-image would set CNN_IMAGE_PORT
  restartPolicy: Never
  {{- include "cnn-image.pullSecrets" $root | nindent 2 }}
  securityContext:
    {{- include "cnn-image.podSecurity" $root | nindent 4 }}
  {{- if or .heavy .scoring }}
  {{- with $placed.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $placed.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- if and $root.Values.minio.enabled (or .heavy .first) }}
  initContainers:
    - name: trial # MinIO and MLflow start with the release: wait for them, make the bucket when it is not there
      {{- include "cnn-image.jobContainer" (dict "root" $root "command" (list "python" "-m" "jobs.cluster.trial")) | nindent 6 }}
      resources: {requests: {cpu: 50m, memory: 128Mi}, limits: {cpu: "1", memory: 256Mi}}
  {{- end }}
  containers:
    - name: cnn-image
      {{- include "cnn-image.jobContainer" . | nindent 6 }}
      {{- if .heavy }}
      {{- $resources := deepCopy $training.resources }}
      {{- if gt (int $training.gpus) 0 }}{{ $_ := set $resources "limits" (merge (dict "nvidia.com/gpu" (int $training.gpus | toString)) ($resources.limits | default dict)) }}{{ end }}
      resources: {{- toYaml $resources | nindent 8 }}
      {{- else if .scoring }}
      resources: {{- toYaml $scoring.resources | nindent 8 }}
      {{- else }}
      resources: {requests: {cpu: 50m, memory: 256Mi}, limits: {cpu: "1", memory: 1Gi}}
      {{- end }}
  volumes:
    {{- if .heavy }}
    {{- if $training.enabled }}
    - {name: work, persistentVolumeClaim: {claimName: {{ include "cnn-image.model" $root }}-workspace}}
    {{- else }}
    - {name: work, emptyDir: {}}
    {{- end }}
    {{- with $training.data.volumeClaim }}
    - {name: data, persistentVolumeClaim: {claimName: {{ . }}, readOnly: true}}
    {{- end }}
    {{- else }}
    - {name: work, emptyDir: {}}
    {{- end }}
    - {name: tmp, emptyDir: {}}
    {{- with $root.Values.store.caBundle.configMap }}
    - {name: ca, configMap: {name: {{ . }}}}
    {{- end }}
    {{- with ($root.Values.mlflow.caBundle).configMap }}
    - {name: mlflow-ca, configMap: {name: {{ . }}}}
    {{- end }}
{{- end }}

{{/* A container of the train image; `args` go to cnn-image, `command` replaces it. */}}
{{- define "cnn-image.jobContainer" -}}
{{- $root := .root }}{{ $training := $root.Values.training -}}
image: {{ include "cnn-image.image" (list $root $root.Values.image.train) }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
{{- with .command }}
command: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .args }}
args: {{- toYaml . | nindent 2 }}
{{- end }}
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  {{- include "cnn-image.containerSecurity" $root | nindent 2 }}
env:
  {{- with include "cnn-image.modelEnv" $root }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- include "cnn-image.storeEnv" $root | nindent 2 }}
  - {name: CNN_IMAGE_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
  - {name: CNN_IMAGE_USER, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}
  - {name: CNN_IMAGE_OUTCOME, value: /dev/termination-log}
  - {name: CNN_IMAGE_VARIANT, value: {{ include "cnn-image.variant" $root }}}
  - {name: CNN_IMAGE_ROLLOUT_SECONDS, value: {{ $root.Values.serving.rolloutTimeoutSeconds | quote }}}
  - {name: HOME, value: /tmp}
  {{- if .scoring }}
  - {name: JOB_NAME, valueFrom: {fieldRef: {fieldPath: "metadata.labels['batch.kubernetes.io/job-name']"}}}
  {{- end }}
  {{- if $training.acceptWeakEvidence }}
  - {name: CNN_IMAGE_ACCEPT_WEAK_EVIDENCE, value: "true"}
  {{- end }}
  {{- if .heavy }}
  {{- with $training.data.url }}
  - {name: CIFAR10_DIR, value: {{ . | quote }}}
  {{- else }}
  - {name: CIFAR10_DIR, value: {{ clean (printf "/data/%s" $training.data.path) | quote }}}
  {{- end }}
  {{- with $training.size }}
  - {name: CNN_IMAGE_SIZE, value: {{ int . | quote }}}
  {{- end }}
  {{- with $training.fit }}
  - {name: CNN_IMAGE_FIT, value: {{ . }}}
  {{- end }}
  {{- with $training.network }}
  - {name: CNN_IMAGE_NETWORK, value: {{ . }}}
  {{- end }}
  {{- if not $training.mirror }}
  - {name: CNN_IMAGE_MIRROR, value: "false"}
  {{- end }}
  {{- with $training.rename }}
  - {name: CNN_IMAGE_RENAME, value: {{ join "\n" . | quote }}}
  {{- end }}
  {{- if $training.dropLeaks }}
  - {name: CNN_IMAGE_DROP_LEAKS, value: "true"}
  {{- end }}
  - {name: CNN_IMAGE_RECIPE, value: {{ $training.recipe }}}
  - {name: CNN_IMAGE_INT8, value: {{ and $training.int8 (ne (include "cnn-image.variant" $root) "gpu") | quote }}}
  {{- if and $training.requireGpu (gt (int $training.gpus) 0) }}
  - {name: CNN_IMAGE_REQUIRE_GPU, value: "true"}
  {{- end }}
  {{- with $training.epochs }}
  - {name: EPOCHS, value: {{ int . | quote }}}
  {{- end }}
  {{- with $training.batchSize }}
  - {name: BATCH_SIZE, value: {{ int . | quote }}}
  {{- end }}
  {{- range $name, $value := $training.env }}
  - {name: {{ $name }}, value: {{ $value | quote }}}
  {{- end }}
  {{- end }}
volumeMounts:
  - {name: work, mountPath: /work}
  - {name: tmp, mountPath: /tmp}
  {{- if and .heavy $training.data.volumeClaim }}
  - {name: data, mountPath: /data, readOnly: true}
  {{- end }}
  {{- if $root.Values.store.caBundle.configMap }}
  - {name: ca, mountPath: /etc/cnn-image/ca, readOnly: true}
  {{- end }}
  {{- if ($root.Values.mlflow.caBundle).configMap }}
  - {name: mlflow-ca, mountPath: /etc/cnn-image/mlflow-ca, readOnly: true}
  {{- end }}
{{- end }}

{{/* The specification of a Job that trains: dict "root" $ "args" ARGS "install" BOOL. Faults are retried, mistakes are not.
     `helm install --wait-for-jobs` of Helm 3 takes a Job as failed only when more pods failed than its backoffLimit, so
     that of the Job it waits for is 0: a failed pod ends it, and one that met a fault does not count as failed. */}}
{{- define "cnn-image.trainingJob" -}}
{{- $training := .root.Values.training -}}
backoffLimit: {{ .install | ternary 0 $training.retries }}
activeDeadlineSeconds: {{ $training.deadlineSeconds }}
{{- if not .install }}
ttlSecondsAfterFinished: {{ $training.ttlSeconds }}
{{- end }}
podFailurePolicy:
  rules:
    # An evicted or preempted pod costs no retry; the next one goes on from its checkpoint.
    - {action: Ignore, onPodConditions: [{type: DisruptionTarget}]}
    {{- if .install }}
    # 69: something this depends on is away (store, network); 143: told to end. Tried again until the deadline.
    - {action: Ignore, onExitCodes: {operator: In, values: [69, 143]}}
    {{- end }}
    # 2: wrong data, wrong settings, missing rights; 3 refused by the gate; 4 someone was first; 5 taken back.
    - {action: FailJob, onExitCodes: {containerName: cnn-image, operator: In, values: [2, 3, 4, 5]}}
template:
  {{- include "cnn-image.jobPod" (merge (dict "heavy" true "component" "training") .) | nindent 2 }}
{{- end }}

{{- define "cnn-image.firstTraining" -}}
{{- include "cnn-image.trainingJob" (dict "root" . "args" (list "retrain" "--unless-promoted") "install" true) }}
{{- end }}

{{/* The first training's name follows its content, since a Job cannot be changed: where nothing but rendering happens
     (Argo CD, `kubectl apply`), another image makes another Job and the same rendering the same. Helm's revision, 1 wherever
     Helm only renders, makes each `helm upgrade` try a training again that failed. Without the model's name. */}}
{{- define "cnn-image.firstTrainingName" -}}
train-{{ .Release.Revision }}-{{ include "cnn-image.firstTraining" . | sha256sum | trunc 8 }}
{{- end }}
