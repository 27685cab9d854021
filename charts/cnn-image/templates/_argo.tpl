{{/* One step: dict "root" $ "name" NAME "args" ARGS, and where it has them "input" "outputs" "heavy" "gpu" "timeout" "memory".
     The timeout also counts the time in which the pod finds no node. */}}
{{- define "cnn-image.argoStep" -}}
{{- $training := .root.Values.training -}}
- name: {{ .name }}
  timeout: {{ .timeout | default (printf "%ds" (int $training.deadlineSeconds)) }}
  {{- include "cnn-image.argoRetry" .root | nindent 2 }}
  {{- with .input }}
  inputs: {parameters: [{name: {{ . }}}]}
  {{- end }}
  {{- if .gpu }}
  {{- with $training.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $training.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  container:
    {{- $args := .args }}
    {{- if .outputs }}{{ $args = append $args "--outputs=/tmp/outputs" }}{{ end }}
    {{- include "cnn-image.argoContainer" (merge (dict "args" $args) .) | nindent 4 }}
  {{- with .outputs }}
  outputs:
    parameters:
      {{- range . }}
      - {name: {{ . }}, valueFrom: {path: /tmp/outputs/{{ . }}}}
      {{- end }}
  {{- end }}
{{- end }}

{{/* The container of a step; only training asks for the GPU. */}}
{{- define "cnn-image.argoContainer" -}}
{{- $training := .root.Values.training -}}
{{- $command := .command | default (list "cnn-image") -}}
{{- include "cnn-image.jobContainer" (merge (dict "command" $command) .) }}
{{- if .gpu }}
{{- $resources := deepCopy $training.resources }}
{{- if gt (int $training.gpus) 0 }}{{ $_ := set $resources "limits" (merge (dict "nvidia.com/gpu" (int $training.gpus | toString)) ($resources.limits | default dict)) }}{{ end }}
resources: {{- toYaml $resources | nindent 2 }}
{{- else }}
resources: {requests: {cpu: 50m, memory: 256Mi}, limits: {cpu: "2", memory: {{ .memory | default (ternary "4Gi" "1Gi" (.heavy | default false)) }}}}
{{- end }}
{{- end }}

{{/* A container that leaves the workspace alone: a volume that one node at a time can have must not keep the node of
     the steps from being another one. */}}
{{- define "cnn-image.argoContainerApart" -}}
{{- $container := include "cnn-image.argoContainer" . | fromYaml }}
{{- $mounts := list }}
{{- range $container.volumeMounts }}{{ if ne .name "work" }}{{ $mounts = append $mounts . }}{{ end }}{{ end }}
{{- set $container "volumeMounts" $mounts | toYaml }}
{{- end }}

{{- define "cnn-image.argoRetry" -}}
retryStrategy:
  limit: {{ .Values.training.retries | quote }}
  retryPolicy: Always
  expression: "!(asInt(lastRetry.exitCode) in [2, 3, 4, 5])"
  backoff: {duration: 30s, factor: "2"}
{{- end }}

{{/* Argo's own containers, as restricted pod security asks for them; no CNN_IMAGE_PORT by the Service cnn-image. */}}
{{- define "cnn-image.argoPatch" -}}
{{- $secured := include "cnn-image.containerSecurity" . | fromYaml }}
{{- $argo := list (dict "name" "wait" "securityContext" $secured) }}
{{- dict "enableServiceLinks" false "initContainers" (list (dict "name" "init" "securityContext" $secured)) "containers" $argo | toJson }}
{{- end }}
